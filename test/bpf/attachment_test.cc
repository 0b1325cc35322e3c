// Programs on interfaces, by links of tcx and by filters of clsact: replaced, they are never
// missing.
#include "redirect-bpf/user/attachment.h"
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/loader.h"
#include "test/bpf/datagrams.h"
#include "test/bpf/small_node.h"

#include <catch2/catch_test_macros.hpp>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

using namespace weir;
using namespace weir::test;

namespace {

// From pod A to the world.
UniqueFd client_of(const SmallNode& lab, std::uint16_t port) {
  UniqueFd client = bound_socket(lab.a, SOCK_DGRAM, at("10.1.0.1", 0));
  start_connect(client.get(), at("192.0.2.9", port));
  return client;
}

std::string programs_of_node(const SmallNode& lab) {
  return lab.node.run({"bpftool", "net", "show"}).out;
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += word.size()) {
    ++found;
  }
  return found;
}

} // namespace

TEST_CASE("S5: while programs are replaced nothing forbidden passes, and nothing allowed is lost") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  // Twice the same programs, on the maps of the first.
  const std::string folder = redirect::pin_folder(lab.bpffs);
  const auto one = redirect::BpfObject::load(folder, kSmallMaps);
  const auto other = redirect::BpfObject::load(folder, kSmallMaps);
  REQUIRE(one.has_value());
  REQUIRE(other.has_value());

  const UniqueFd allowed = bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 53));
  const UniqueFd forbidden = bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 54));
  std::atomic<bool> done = false;
  std::atomic<unsigned> lost = 0, passed = 0;
  std::jthread flood([&, client = client_of(lab, 54)] {
    while (!done) {
      (void)::send(client.get(), "x", 1, 0);
    }
  });
  std::jthread questions([&, client = client_of(lab, 53)] {
    while (!done) {
      const bool arrives = ::send(client.get(), "x", 1, 0) == 1 &&
                           wait_for(allowed.get(), POLLIN) && has_arrived(allowed.get());
      ++(arrives ? passed : lost);
    }
  });
  unsigned failed = 0;
  lab.node.on_thread([&] {
    const auto interface = static_cast<int>(::if_nametoindex("pa"));
    auto attachments = redirect::Attachments::open(lab.bpffs, mode, one->programs().to_net);
    for (int i = 0; attachments && i < 1000; ++i) {
      const redirect::Programs& programs = (i % 2 == 0 ? *other : *one).programs();
      failed += attachments->attach(interface, {}, programs.from_pod, programs.to_pod) ? 0 : 1;
    }
  });
  done = true;
  flood.join();
  questions.join();
  CHECK(failed == 0);
  CHECK(lost == 0);
  CHECK(passed > 0);
  CHECK_FALSE(has_arrived(forbidden.get()));
  CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) > 0);
}

TEST_CASE("S5: programs of another version hold until they are replaced, and nothing of it stays") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  lab.close();
  const std::string former = redirect::pin_root(lab.bpffs) + "/v999";
  std::filesystem::rename(redirect::pin_folder(lab.bpffs), former);

  const Datagrams datagrams(lab);
  datagrams.check(true);
  lab.open();
  datagrams.check(true);
  CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == 0); // the other's count goes on, on its maps
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  datagrams.check(true);
  CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == 1);
  CHECK_FALSE(std::filesystem::exists(former));
  const std::string shown = programs_of_node(lab);
  INFO(shown);
  const std::string by = std::string(name_of(mode)) + "/";
  CHECK(count(shown, by + "ingress weir_from_pod") == 2);
  CHECK(count(shown, by + "egress weir_to_pod") == 2);
  CHECK(count(shown, by + "ingress weir_from_net") == 1);
  CHECK(count(shown, by + "egress weir_to_net") == 1);
}

TEST_CASE("a filter that somebody takes away is put back; where it cannot be, the pod is held") {
  require_root();
  SmallNode lab(redirect::AttachMode::kClsact);
  lab.open();
  REQUIRE(lab.apply(pods(kDnsOnly)).has_value());
  const UniqueFd forbidden = bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 54));
  const UniqueFd intruder = client_of(lab, 54);
  const auto count_of = [&](weir_drop reason) { return lab.drops(reason, WEIR_EGRESS); };
  for (const std::vector<std::string>& loss :
       {std::vector<std::string>{"filter", "del", "dev", "pa", "ingress"},
        {"qdisc", "del", "dev", "pa", "clsact"}}) {
    lab.tc(loss);
    const std::uint64_t before = count_of(WEIR_DROP_POLICY);
    lab.until([&] {
      send_text(intruder.get(), "x");
      return count_of(WEIR_DROP_POLICY) > before;
    });
  }
  const std::string shown = programs_of_node(lab);
  INFO(shown);
  CHECK(count(shown, "clsact/ingress weir_from_pod") == 2);
  CHECK(count(shown, "clsact/egress weir_to_pod") == 2);

  lab.tc({"qdisc", "del", "dev", "pa", "clsact"});
  lab.tc({"qdisc", "add", "dev", "pa", "ingress"});
  Result<void> handled;
  while (handled) {
    REQUIRE(wait_for(lab.redirector->netlink_fd(), POLLIN));
    handled = lab.node.on_thread([&] { return lab.redirector->handle_netlink(); });
  }
  CHECK(handled.error().text().find("pa: it has an ingress qdisc") != std::string::npos);
  CHECK_FALSE(lab.redirector->attached("pa"));
  const std::uint64_t before = count_of(WEIR_DROP_NO_PROGRAM);
  send_text(intruder.get(), "x");
  lab.until([&] { return count_of(WEIR_DROP_NO_PROGRAM) == before + 1; });
}
