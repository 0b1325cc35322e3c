// Programs of others on the hooks that weir uses: their order stays, both do their work, and weir
// takes away only its own.
#include "redirect-bpf/user/cleanup.h"
#include "redirect-bpf/user/tcx_links.h"
#include "test/bpf/datagrams.h"
#include "test/bpf/small_node.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <foreign.skel.h>
#include <net/if.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace weir::test {
namespace {

using redirect::kTcxEgress, redirect::kTcxIngress;
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
  // As a filter of clsact, which runs behind all tcx programs. 0: the kernel's choice.
  void filter(int interface, bpf_tc_attach_point hook, std::uint32_t priority = 0,
              std::uint32_t handle = 0) const {
    LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = interface, .attach_point = hook);
    const int made = bpf_tc_hook_create(&at);
    REQUIRE((made == 0 || made == -EEXIST));
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program(), .handle = handle, .priority = priority);
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

int interface_a(const SmallNode& lab) {
  return lab.node.on_thread([] { return static_cast<int>(::if_nametoindex("pa")); });
}

// The programs of an interface's filters, in the order in which they run.
std::vector<std::string> filters_at(const SmallNode& lab, const std::string& interface,
                                    const std::string& direction) {
  const std::string shown = lab.tc({"filter", "show", "dev", interface, direction});
  std::vector<std::string> programs;
  for (std::size_t at = 0; (at = shown.find(":[", at)) != std::string::npos; ++at) {
    const std::size_t begin = shown.rfind(' ', at) + 1;
    programs.push_back(shown.substr(begin, at - begin));
  }
  return programs;
}

// Of the qdisc that clsact is, or that stands in its place; empty: none.
std::string qdisc_at(const SmallNode& lab, const std::string& interface) {
  return lab.tc({"qdisc", "show", "dev", interface, "ingress"});
}

TEST_CASE("beside programs of others the order is kept, all work, and cleanup leaves theirs") {
  require_root();
  if (!has_tcx()) {
    WARN("this kernel has no tcx links");
    return;
  }
  SmallNode lab;
  const int interface = interface_a(lab);
  Foreign older_in, older_out, first_in, last_out, filter_in, filter_out;
  lab.node.on_thread([&] {
    older_in.link(interface, kTcxIngress, false);
    older_out.link(interface, kTcxEgress, false);
    filter_in.filter(interface, BPF_TC_INGRESS);
    filter_out.filter(interface, BPF_TC_EGRESS);
  });
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
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
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  CHECK(order(kTcxIngress).links == in.links);
  CHECK(order(kTcxEgress).links == out.links);

  const Datagrams datagrams(lab);
  const auto round = [&](bool enforced) {
    const std::uint32_t before_first = first_in.seen(), before_older = older_in.seen(),
                        before_filter = filter_in.seen();
    const std::uint64_t drops = enforced ? lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) : 0;
    datagrams.check(enforced);
    // Both came to the one before weir; those behind it saw what weir let through.
    CHECK(first_in.seen() >= before_first + 2);
    CHECK(older_in.seen() > before_older);
    CHECK(filter_in.seen() > before_filter);
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

TEST_CASE("beside filters of others weir's is first on the way in and last on the way out") {
  require_root();
  SmallNode lab(redirect::AttachMode::kClsact);
  const int interface = interface_a(lab);
  Foreign older_in, older_out, newer_in, newer_out;
  lab.node.on_thread([&] {
    older_in.filter(interface, BPF_TC_INGRESS);
    older_out.filter(interface, BPF_TC_EGRESS);
  });
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  lab.node.on_thread([&] {
    newer_in.filter(interface, BPF_TC_INGRESS);
    newer_out.filter(interface, BPF_TC_EGRESS);
  });
  const auto check_order = [&] {
    CHECK(filters_at(lab, "pa", "ingress") ==
          std::vector<std::string>{"weir_from_pod", "foreign", "foreign"});
    CHECK(filters_at(lab, "pa", "egress") ==
          std::vector<std::string>{"foreign", "foreign", "weir_to_pod"});
    CHECK(filters_at(lab, "uplink", "ingress") == std::vector<std::string>{"weir_from_net"});
    CHECK(filters_at(lab, "uplink", "egress") == std::vector<std::string>{"weir_to_net"});
  };
  check_order();
  // A restart and a change of policy move nothing.
  lab.close();
  check_order();
  lab.open();
  REQUIRE(lab.apply(pods({})).has_value());
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  check_order();

  const Datagrams datagrams(lab);
  const std::uint32_t before = older_in.seen();
  const std::uint64_t drops = lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS);
  datagrams.check(true);
  CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == drops + 1);
  CHECK(older_in.seen() > before); // what weir let through
  CHECK(newer_in.seen() > 0);
  CHECK(older_out.seen() > 0); // neighbour discovery at the least
  CHECK(newer_out.seen() > 0);

  lab.close();
  REQUIRE(lab.node.on_thread([&] { return redirect::cleanup(lab.bpffs); }).has_value());
  for (const char* direction : {"ingress", "egress"}) {
    CHECK(filters_at(lab, "pa", direction) == std::vector<std::string>{"foreign", "foreign"});
    CHECK(filters_at(lab, "pb", direction).empty());
  }
  CHECK(qdisc_at(lab, "pa").starts_with("qdisc clsact"));
  for (const char* none : {"pb", "uplink"}) {
    CHECK(qdisc_at(lab, none).empty());
  }
  datagrams.check(false);
}

TEST_CASE("cleanup leaves a clsact in which weir never had a filter") {
  require_root();
  SmallNode lab(redirect::AttachMode::kClsact);
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  const NetNs other;
  connect({lab.node, "other", {}}, {other, "eth0", {}});
  lab.tc({"qdisc", "add", "dev", "other", "clsact"});
  REQUIRE(lab.node.on_thread([&] { return redirect::cleanup(lab.bpffs); }).has_value());
  CHECK(qdisc_at(lab, "other").starts_with("qdisc clsact"));
  CHECK(qdisc_at(lab, "pa").empty());
}

// pa cannot have its programs because of what `told` says, in a qdisc of this kind. That stays; all
// is well when somebody takes it away.
void check_refusal(SmallNode& lab, const std::string& kind, const std::string& direction,
                   const std::string& told) {
  const auto shown = [&] {
    return lab.tc({"filter", "show", "dev", "pa", direction}) + qdisc_at(lab, "pa");
  };
  const std::string before = shown();
  lab.open();
  const auto applied = lab.apply(pods(kDnsOnly));
  REQUIRE_FALSE(applied.has_value());
  INFO(applied.error().text());
  CHECK(applied.error().text().find("pa: " + told) != std::string::npos);
  CHECK(shown() == before);
  CHECK_FALSE(lab.redirector->attached("pa"));
  CHECK(lab.redirector->attached("pb"));
  // What the pod sends is held where it would leave.
  const Datagrams datagrams(lab);
  datagrams.send(54);
  datagrams.send(53);
  lab.until([&] { return lab.drops(WEIR_DROP_NO_PROGRAM, WEIR_EGRESS) == 2; });

  lab.tc({"qdisc", "del", "dev", "pa", kind});
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  datagrams.check(true);
}

TEST_CASE("a filter of others in the place of weir's stays, and is told by its name") {
  require_root();
  SmallNode lab(redirect::AttachMode::kClsact);
  const int interface = interface_a(lab);
  const Foreign foreign;
  struct Place {
    bpf_tc_attach_point hook;
    std::string direction;
    std::uint32_t priority;
  };
  const auto place =
      GENERATE(Place{BPF_TC_INGRESS, "ingress", 1}, Place{BPF_TC_EGRESS, "egress", 65535});
  INFO(place.direction);
  std::string filter = "bpf foreign:[" + std::to_string(foreign.id()) + "]";
  SECTION("a program") {
    lab.node.on_thread([&] { foreign.filter(interface, place.hook, place.priority); });
  }
  SECTION("a program under weir's handle") {
    lab.node.on_thread([&] { foreign.filter(interface, place.hook, place.priority, 0x77656972); });
  }
  SECTION("another kind") {
    lab.tc({"qdisc", "add", "dev", "pa", "clsact"});
    lab.tc({"filter", "add", "dev", "pa", place.direction, "prio", std::to_string(place.priority),
            "protocol", "ip", "u32", "match", "ip", "dst", "203.0.113.1/32", "classid", "1:1"});
    filter = "u32";
  }
  check_refusal(lab, "clsact", place.direction,
                "clsact " + place.direction + " has a filter of others (" + filter +
                    ") at priority " + std::to_string(place.priority));
}

TEST_CASE("a qdisc of others in the place of clsact stays, and is told") {
  require_root();
  SmallNode lab(redirect::AttachMode::kClsact);
  lab.tc({"qdisc", "add", "dev", "pa", "ingress"});
  check_refusal(lab, "ingress", "ingress", "it has an ingress qdisc of others");
}

} // namespace
} // namespace weir::test
