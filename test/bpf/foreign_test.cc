// Programs of others on the hooks that weir uses: their order stays, both do their work, and weir
// takes away only its own.
#include "redirect-bpf/user/cleanup.h"
#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <catch2/catch_test_macros.hpp>
#include <foreign.skel.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace weir::test {
namespace {

// Newer than the headers of Linux 6.1.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr std::uint32_t kBefore = 1u << 3; // BPF_F_BEFORE

class Foreign {
public:
  Foreign() : x_skeleton(foreign__open_and_load(), &foreign__destroy) {
    REQUIRE(x_skeleton != nullptr);
  }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  ~Foreign() = default; // a filter goes with its interface

  // First of all, or last.
  void link(int interface, bpf_attach_type hook, bool first) {
    LIBBPF_OPTS(bpf_link_create_opts, options);
    options.flags = first ? kBefore : 0;
    x_link.reset(bpf_link_create(program(), interface, hook, &options));
    REQUIRE(x_link.valid());
  }
  // As a filter of clsact, which runs behind all tcx programs.
  void filter(int interface, bpf_tc_attach_point hook) const {
    LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = interface, .attach_point = hook);
    const int made = bpf_tc_hook_create(&at);
    REQUIRE((made == 0 || made == -EEXIST));
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program());
    REQUIRE(bpf_tc_attach(&at, &options) == 0);
  }
  [[nodiscard]] std::uint32_t seen() const { return x_skeleton->bss->seen; }
  [[nodiscard]] std::uint32_t id() const {
    bpf_prog_info info{};
    std::uint32_t length = sizeof(info);
    REQUIRE(bpf_prog_get_info_by_fd(program(), &info, &length) == 0);
    return info.id;
  }

private:
  [[nodiscard]] int program() const { return bpf_program__fd(x_skeleton->progs.foreign); }

  std::unique_ptr<foreign, void (*)(foreign*)> x_skeleton;
  UniqueFd x_link;
};

struct Order {
  std::vector<std::uint32_t> programs, links; // ids, in the order in which they run
};

Order order_of(int interface, bpf_attach_type hook) {
  Order order{std::vector<std::uint32_t>(16), std::vector<std::uint32_t>(16)};
  LIBBPF_OPTS(bpf_prog_query_opts, options);
  options.prog_ids = order.programs.data();
  options.link_ids = order.links.data();
  options.count = 16;
  REQUIRE(bpf_prog_query_opts(interface, hook, &options) == 0);
  order.programs.resize(options.count);
  order.links.resize(options.count);
  return order;
}

TEST_CASE("beside programs of others the order is kept, all work, and cleanup leaves theirs") {
  require_root();
  SmallNode lab;
  const int interface = lab.node.on_thread([] { return static_cast<int>(::if_nametoindex("pa")); });
  REQUIRE(interface != 0);
  Foreign older_in, older_out, first_in, last_out, filter_in, filter_out;
  lab.node.on_thread([&] {
    older_in.link(interface, kTcxIngress, false);
    older_out.link(interface, kTcxEgress, false);
    filter_in.filter(interface, BPF_TC_INGRESS);
    filter_out.filter(interface, BPF_TC_EGRESS);
  });
  const std::array rows{
      row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW),
  };
  lab.open();
  REQUIRE(lab.apply(pods(rows)).has_value());
  // And one that came later and put itself before weir.
  lab.node.on_thread([&] {
    first_in.link(interface, kTcxIngress, true);
    last_out.link(interface, kTcxEgress, false);
  });
  const auto order = [&](bpf_attach_type hook) {
    return lab.node.on_thread([&] { return order_of(interface, hook); });
  };
  const Order in = order(kTcxIngress), out = order(kTcxEgress);
  REQUIRE(in.programs.size() == 3);
  CHECK(in.programs.front() == first_in.id());
  CHECK(in.programs.back() == older_in.id());
  REQUIRE(out.programs.size() == 3);
  CHECK(out.programs.front() == older_out.id());
  CHECK(out.programs.back() == last_out.id());

  // A restart and a change of policy move nothing.
  lab.close();
  lab.open();
  REQUIRE(lab.apply(pods(rows)).has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  REQUIRE(lab.apply(pods(rows)).has_value());
  CHECK(order(kTcxIngress).links == in.links);
  CHECK(order(kTcxEgress).links == out.links);

  const UniqueFd allowed = bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 53));
  const UniqueFd denied = bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 54));
  const UniqueFd client = bound_socket(lab.a, SOCK_DGRAM, at("10.1.0.1", 5000));
  const auto send_to = [&](std::uint16_t port) {
    sockaddr_storage storage;
    const SocketAddress to = at("192.0.2.9", port);
    const socklen_t length = to.to_sockaddr(storage);
    REQUIRE(::sendto(client.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&storage), length) == 1);
  };
  const auto round = [&](bool enforced) {
    const std::uint32_t before_first = first_in.seen(), before_older = older_in.seen(),
                        before_filter = filter_in.seen();
    const std::uint64_t drops = enforced ? lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) : 0;
    send_to(54);
    send_to(53);
    CHECK(wait_for(allowed.get(), POLLIN));
    CHECK(receive_text(allowed.get()) == "x");
    // Both came to the one before weir; those behind it saw what weir let through.
    CHECK(first_in.seen() >= before_first + 2);
    CHECK(older_in.seen() > before_older);
    CHECK(filter_in.seen() > before_filter);
    char byte = 0;
    const bool arrived = ::recv(denied.get(), &byte, 1, MSG_DONTWAIT) == 1;
    CHECK(arrived != enforced);
    if (enforced) {
      CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == drops + 1);
      CHECK(older_in.seen() - before_older < first_in.seen() - before_first);
    }
  };
  round(true);
  CHECK(last_out.seen() > 0); // neighbour discovery at the least
  CHECK(filter_out.seen() > 0);

  lab.close();
  REQUIRE(lab.node.on_thread([&] { return redirect::cleanup(lab.bpffs); }).has_value());
  CHECK(order(kTcxIngress).programs == std::vector{first_in.id(), older_in.id()});
  CHECK(order(kTcxEgress).programs == std::vector{older_out.id(), last_out.id()});
  round(false);
}

} // namespace
} // namespace weir::test
