#include "proxy/base/clocks.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "test/bpf/data_path.h"
#include "test/bpf/judge_cases.h"
#include "test/support/netns.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

using namespace weir;
using namespace weir::test;

namespace {

constexpr std::uint64_t kFar = ~0ull;

} // namespace

TEST_CASE("the programs judge policy rows as decide.h does") {
  require_root();
  DataPath path;
  std::uint16_t port = 1000;
  for (const Family& family : kFamilies) {
    for (const JudgeCase& c : kJudgeCases) {
      INFO(c.name << (family.v6 ? ", IPv6" : ", IPv4"));
      Rows rows;
      if (c.peer) {
        rows.push_back(row(WEIR_EGRESS, family.world_identity, IPPROTO_UDP, 53, c.peer->verdict,
                           c.peer->rule));
      }
      if (c.any) {
        rows.push_back(
            row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, c.any->verdict, c.any->rule));
      }
      if (c.learned) {
        redirect::PolicyRow learned =
            row(WEIR_EGRESS, WEIR_IDENTITY_LEARNED, IPPROTO_UDP, 53, WEIR_DENY, c.learned->rule);
        learned.entry.fqdn_deny = c.learned->deny;
        learned.entry.fqdn_redirect = c.learned->redirect;
        learned.entry.fqdn_allow = c.learned->allow;
        rows.push_back(learned);
      }
      path.set_policy(kA, kEgress, rows);
      path.learn(kA, family.world, c.groups, c.expired ? 1 : kFar);
      path.forget_flows();
      path.events();
      const BpfRun run = path.from_pod(udp(family.a, family.world, ++port, 53));
      // Nobody listens, so what is to be redirected is dropped.
      CHECK(run.action == (c.verdict == WEIR_ALLOW ? kNext : kShot));
      CHECK(run.mark == 0);
      const auto events = path.events();
      REQUIRE_FALSE(events.empty());
      CHECK(events[0].verdict == c.verdict);
      CHECK(events[0].reason == c.reason);
      CHECK(events[0].rule == c.rule);
      CHECK(events[0].endpoint == kA);
      CHECK(events[0].identity == family.world_identity);
      CHECK(events[0].direction == WEIR_EGRESS);
    }
  }
}

TEST_CASE("a redirected flow without a proxy is dropped and counted") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    for (const std::uint8_t flags : {kSyn, kAck, kSynAck}) {
      const BpfRun run = path.from_pod(tcp(family.a, family.world, 4000, 80, flags));
      CHECK(run.action == kShot);
      CHECK(run.mark == 0);
    }
  }
  CHECK(path.drops(WEIR_DROP_NO_PROXY, WEIR_EGRESS) == 6);
}

TEST_CASE("N5: a protocol that the proxy does not speak is never redirected") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress, Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).sctp(1, 2)).action == kShot);
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).raw(47, Bytes(8))).action == kShot);
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).icmp_echo(false, 1)).action == kShot);
  }
}

TEST_CASE("N9: a pod cannot send from an address that is not its own") {
  require_root();
  DataPath path; // no policy at all
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(udp(family.world, family.b, 1, 2)).action == kShot);
    CHECK(path.from_pod(udp(family.a, family.b, 1, 2)).action == kNext);
  }
  path.set_interface(kA, 7);
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 2)).action == kShot);
  CHECK(path.drops(WEIR_DROP_SPOOFED, WEIR_EGRESS) == 3);
}

TEST_CASE("a pod that no policy selects is untouched and leaves no trace") {
  require_root();
  DataPath path;
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(udp(family.a, family.world, 1, 2)).action == kNext);
    CHECK(path.to_pod(udp(family.world, family.a, 2, 1)).action == kNext);
    CHECK(path.from_net(udp(family.world, family.a, 2, 1)).action == kNext);
    CHECK(path.from_pod(udp(family.a, family.world, 1, 2).fragment(0, true)).action == kNext);
  }
  CHECK(path.count(WEIR_COUNT_UNTOUCHED) == 6);
  CHECK(path.events().empty());
}

TEST_CASE("answers pass, whatever the other direction's policy") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 443, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    CHECK(path.to_pod(tcp(family.world, family.a, 443, 5000, kSynAck)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 5000, 443, kSyn)).action == kNext);
    CHECK(path.from_net(tcp(family.world, family.a, 443, 5000, kSynAck)).action == kNext);
    CHECK(path.to_pod(tcp(family.world, family.a, 443, 5000, kSynAck)).action == kNext);
    // The server's own connection from that port is not an answer.
    CHECK(path.to_pod(tcp(family.world, family.a, 443, 5000, kSyn)).action == kShot);
    CHECK(path.to_pod(tcp(family.world, family.a, 443, 5001, kAck)).action == kShot);
  }
}

TEST_CASE("a pod whose egress alone is enforced answers its clients") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress, Rows{});
  for (const Family& family : kFamilies) {
    CHECK(path.from_net(tcp(family.world, family.a, 6000, 80, kSyn)).action == kNext);
    CHECK(path.to_pod(tcp(family.world, family.a, 6000, 80, kSyn)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 80, 6000, kSynAck)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 80, 6001, kSynAck)).action == kShot);
  }
}

TEST_CASE(
    "ingress policy of a pod on this node is asked where the sender can still be redirected") {
  require_root();
  DataPath path;
  path.set_policy(kB, kIngress,
                  Rows{row(WEIR_INGRESS, kIdentityA, IPPROTO_TCP, 80, WEIR_REDIRECT, 5),
                       row(WEIR_INGRESS, kIdentityA, IPPROTO_TCP, 81, WEIR_ALLOW, 6)});
  for (const Family& family : kFamilies) {
    path.events();
    CHECK(path.from_pod(tcp(family.a, family.b, 100, 80, kSyn)).action == kShot); // no proxy
    auto events = path.events();
    REQUIRE(events.size() == 2);
    CHECK(events[0].endpoint == kB);
    CHECK(events[0].verdict == WEIR_REDIRECT);
    CHECK(events[0].identity == kIdentityA);
    CHECK(events[0].direction == WEIR_INGRESS);
    CHECK(events[0].rule == 5);

    CHECK(path.from_pod(tcp(family.a, family.b, 101, 82, kSyn)).action == kShot);
    events = path.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].reason == WEIR_DROP_POLICY);
    CHECK(events[0].endpoint == kB);

    CHECK(path.from_pod(tcp(family.a, family.b, 102, 81, kSyn)).action == kNext);
    CHECK(path.to_pod(tcp(family.a, family.b, 102, 81, kSyn)).action == kNext);
    events = path.events();
    REQUIRE(events.size() == 1); // told once, where it is enforced
    CHECK(events[0].verdict == WEIR_ALLOW);
    CHECK(events[0].rule == 6);
    CHECK(path.from_pod(tcp(family.b, family.a, 81, 102, kSynAck)).action == kNext);
  }
  CHECK(path.drops(WEIR_DROP_POLICY, WEIR_INGRESS) == 2);
}

TEST_CASE("what had to go through the proxy is dropped at the pod") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress,
                  Rows{row(WEIR_INGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    CHECK(path.to_pod(tcp(family.world, family.a, 7000, 80, kSyn)).action == kShot);
    CHECK(path.to_pod(tcp(family.world, family.a, 7000, 80, kAck)).action == kShot);
    CHECK(path.from_net(tcp(family.world, family.a, 7000, 80, kSyn)).action == kShot); // no proxy
  }
  CHECK(path.drops(WEIR_DROP_MISSED_REDIRECT, WEIR_INGRESS) == 4);
  CHECK(path.drops(WEIR_DROP_NO_PROXY, WEIR_INGRESS) == 2);
}

TEST_CASE("nobody but the proxy answers a redirected flow") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(udp(family.a, family.world, 900, 53)).action == kShot); // no proxy
    CHECK(path.from_net(udp(family.world, family.a, 53, 900)).action == kShot);
    CHECK(path.to_pod(udp(family.world, family.a, 53, 900)).action == kNext); // the proxy's
  }
  CHECK(path.drops(WEIR_DROP_MISSED_REDIRECT, WEIR_INGRESS) == 2);
}

TEST_CASE("N7: the node reaches its pods by the row that says so") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress,
                  Rows{row(WEIR_INGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_REDIRECT),
                       row_any(WEIR_INGRESS, WEIR_IDENTITY_HOST, WEIR_ALLOW)});
  CHECK(path.to_pod(tcp("172.31.0.1", "10.1.0.1", 1, 80, kSyn)).action == kNext);
  CHECK(path.to_pod(tcp("172.31.0.1", "10.1.0.1", 1, 22, kSyn)).action == kNext);
}

TEST_CASE("N3: fragments are dropped where policy has a say") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress,
                  Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW),
                       row_any(WEIR_INGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    auto first = udp(family.a, family.world, 1, 2).fragment(0, true);
    auto last = udp(family.a, family.world, 1, 2).fragment(10, false);
    CHECK(path.from_pod(first).action == kShot);
    CHECK(path.from_pod(last).action == kShot);
    CHECK(path.to_pod(udp(family.world, family.a, 1, 2).fragment(10, false)).action == kShot);
    CHECK(path.from_net(udp(family.world, family.a, 1, 2).fragment(0, true)).action == kShot);
    // A pod without policy may not send them to one with.
    CHECK(path.from_pod(udp(family.b, family.a, 1, 2).fragment(0, true)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_FRAGMENT, WEIR_EGRESS) == 6);
  CHECK(path.drops(WEIR_DROP_FRAGMENT, WEIR_INGRESS) == 4);
}

TEST_CASE("N2: IPv6 extension headers are walked, and too many are dropped") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)});
  auto packet = [](std::uint16_t port) { return udp("fd00:1::1", "2001:db8::9", 1, port); };
  CHECK(path.from_pod(packet(53).extension(60).extension(0, 3)).action == kNext);
  CHECK(path.from_pod(packet(80).extension(60).extension(0)).action == kShot);
  CHECK(path.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == 1);
  CHECK(path.from_pod(packet(53).extension(43)).action == kShot); // routing header
  PacketBuilder many = packet(53);
  for (int i = 0; i < 8; ++i) {
    many.extension(60);
  }
  CHECK(path.from_pod(many).action == kShot);
  CHECK(path.drops(WEIR_DROP_EXTENSION, WEIR_EGRESS) == 2);
}

TEST_CASE("N2: IPv4 options do not hide the ports") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)});
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 53).ipv4_options(10)).action == kNext);
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 54).ipv4_options(10)).action == kShot);
}

TEST_CASE("N1: headers that are cut short or in disguise are dropped") {
  require_root();
  DataPath path;
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).raw(IPPROTO_TCP, Bytes(12))).action ==
          kShot);
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).raw(IPPROTO_UDP, Bytes(7))).action ==
          kShot);
  }
  // An IPv4 address spelt as IPv6.
  CHECK(path.from_pod(udp("::ffff:10.1.0.1", "2001:db8::9", 1, 2)).action == kShot);
  CHECK(path.from_pod(udp("fd00:1::1", "::ffff:192.0.2.9", 1, 2)).action == kShot);
  // A frame type that says something else than the packet, and one that hides it.
  CHECK(
      path.from_pod(
              PacketBuilder("10.1.0.1", "192.0.2.9").raw(IPPROTO_UDP, Bytes(40)).ether_type(0x86dd))
          .action == kShot);
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 2).ether_type(0x8847)).action == kShot);
  CHECK(path.drops(WEIR_DROP_MALFORMED, WEIR_EGRESS) == 8);
}

TEST_CASE("N4: ARP and neighbour discovery pass always") {
  require_root();
  DataPath path;
  path.set_policy(kA, WEIR_ENDPOINT_HELD, std::nullopt);
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 2).ether_type(0x0806)).action == kNext);
  auto solicit = PacketBuilder("fe80::5", "ff02::1:ff00:1").icmp(135).hop_limit(255);
  CHECK(path.from_pod(solicit).action == kNext);
  CHECK(path.to_pod(PacketBuilder("fe80::1", "fd00:1::1").icmp(136).hop_limit(255)).action ==
        kNext);
  // The same message to the world would be a way out.
  CHECK(path.from_pod(PacketBuilder("fd00:1::1", "2001:db8::9").icmp(135).hop_limit(255)).action ==
        kShot);
}

TEST_CASE("S2: a pod without a computed policy is locked") {
  require_root();
  DataPath path;
  for (const Family& family : kFamilies) {
    path.set_policy(kA, WEIR_ENDPOINT_HELD, std::nullopt);
    CHECK(path.from_pod(udp(family.a, family.world, 1, 2)).action == kShot);
    CHECK(path.to_pod(udp(family.world, family.a, 1, 2)).action == kShot);
    CHECK(path.from_net(udp(family.world, family.a, 1, 2)).action == kShot);
    CHECK(path.from_pod(udp(family.b, family.a, 1, 2)).action == kShot);
    // Enforced, and the rows are missing.
    path.set_policy(kA, kIngress | kEgress, std::nullopt);
    CHECK(path.from_pod(udp(family.a, family.world, 1, 2)).action == kShot);
    CHECK(path.to_pod(udp(family.world, family.a, 1, 2)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_NO_POLICY, WEIR_EGRESS) == 4);
  CHECK(path.drops(WEIR_DROP_NO_POLICY, WEIR_INGRESS) == 8);
}

TEST_CASE("an address that one pod learned opens nothing for another") {
  require_root();
  DataPath path;
  redirect::PolicyRow learned =
      row(WEIR_EGRESS, WEIR_IDENTITY_LEARNED, IPPROTO_TCP, 443, WEIR_DENY);
  learned.entry.fqdn_allow = 1;
  path.set_policy(kA, kEgress, Rows{learned});
  path.set_policy(kB, kEgress, Rows{learned});
  for (const Family& family : kFamilies) {
    path.learn(kA, family.world, 1, kFar);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kSyn)).action == kNext);
    CHECK(path.from_pod(tcp(family.b, family.world, 1, 443, kSyn)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kSyn)).action == kShot);
    CHECK(path.last_used_ns(kA, family.world) != 0);
    // A name that points to a pod does not open the pod.
    path.learn(kA, family.b, 1, kFar);
    CHECK(path.from_pod(tcp(family.a, family.b, 1, 443, kSyn)).action == kShot);
  }
}

TEST_CASE("an expired address opens no new flow, and flows that it opened live on") {
  require_root();
  DataPath path;
  redirect::PolicyRow learned =
      row(WEIR_EGRESS, WEIR_IDENTITY_LEARNED, IPPROTO_TCP, 443, WEIR_DENY);
  learned.entry.fqdn_allow = 1;
  path.set_policy(kA, kEgress, Rows{learned});
  for (const Family& family : kFamilies) {
    path.learn(kA, family.world, 1, kFar);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kSyn)).action == kNext);
    path.learn(kA, family.world, 1, boottime_ns() - 1);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kAck)).action == kNext);
    path.change_policy(kA, kEgress, Rows{learned});
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kAck)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 2, 443, kSyn)).action == kShot);
    // The same ports again are a new connection.
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kSyn)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_FQDN_EXPIRED, WEIR_EGRESS) == 4);
}

TEST_CASE("N11: a policy change is felt by the next packet of a flow") {
  require_root();
  DataPath path;
  const Rows open{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_ALLOW)};
  for (const Family& family : kFamilies) {
    path.change_policy(kA, kEgress | kIngress, open);
    path.change_policy(kA, kEgress | kIngress, open);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kSyn)).action == kNext);
    CHECK(path.to_pod(tcp(family.world, family.a, 80, 1, kSynAck)).action == kNext);
    path.change_policy(kA, kEgress | kIngress, open); // another rule changed
    CHECK(path.to_pod(tcp(family.world, family.a, 80, 1, kAck)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck)).action == kNext);
    path.change_policy(kA, kEgress | kIngress, Rows{});
    CHECK(path.to_pod(tcp(family.world, family.a, 80, 1, kAck)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck)).action == kShot);
  }
}

TEST_CASE("N11: a flow that must be judged at L7 from now on does not pass by") {
  require_root();
  DataPath path;
  path.change_policy(kA, kEgress,
                     Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kSyn)).action == kNext);
  }
  path.change_policy(kA, kEgress,
                     Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    CHECK(path.to_pod(tcp(family.world, family.a, 80, 1, kAck)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_NO_PROXY, WEIR_EGRESS) == 2);
  CHECK(path.drops(WEIR_DROP_MISSED_REDIRECT, WEIR_INGRESS) == 2);
}

TEST_CASE("N4: an echo reply passes by its request, and nothing else by the reply") {
  require_root();
  DataPath path;
  for (const Family& family : kFamilies) {
    const std::uint8_t protocol =
        family.v6 ? std::uint8_t{IPPROTO_ICMPV6} : std::uint8_t{IPPROTO_ICMP};
    const std::uint16_t request = family.v6 ? 128 : 8, reply = family.v6 ? 129 : 0;
    auto echo = [](std::string_view from, std::string_view to, bool is_reply, std::uint16_t id) {
      return PacketBuilder(from, to).icmp_echo(is_reply, id);
    };
    path.set_policy(kA, kIngress | kEgress,
                    Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, protocol, request, WEIR_ALLOW)});
    CHECK(path.from_pod(echo(family.a, family.world, false, 7)).action == kNext);
    CHECK(path.to_pod(echo(family.world, family.a, true, 7)).action == kNext);
    CHECK(path.to_pod(echo(family.world, family.a, true, 8)).action == kShot);
    CHECK(path.to_pod(echo(family.world, family.a, false, 7)).action == kShot);
    // Replies alone are allowed: they must not open the way for requests.
    path.forget_flows();
    path.set_policy(kA, kIngress | kEgress,
                    Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, protocol, reply, WEIR_ALLOW)});
    CHECK(path.from_pod(echo(family.a, family.world, true, 9)).action == kNext);
    CHECK(path.from_pod(echo(family.a, family.world, false, 9)).action == kShot);
    CHECK(path.to_pod(echo(family.world, family.a, false, 9)).action == kShot);
  }
}

TEST_CASE("N4: an ICMP error passes with the flow that it quotes") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW),
                       row(WEIR_INGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 99, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    const PacketBuilder out = udp(family.a, family.world, 5, 53);
    const PacketBuilder in = udp(family.world, family.a, 6, 99);
    auto about = [](std::string_view from, std::string_view to, const PacketBuilder& quoted) {
      return PacketBuilder(from, to).icmp_error(quoted);
    };
    CHECK(path.to_pod(about(family.world, family.a, out)).action == kShot);
    CHECK(path.from_pod(about(family.a, family.world, in)).action == kShot);
    CHECK(path.from_pod(out).action == kNext);
    CHECK(path.to_pod(in).action == kNext);
    CHECK(path.from_net(about(family.world, family.a, out)).action == kNext);
    CHECK(path.to_pod(about(family.world, family.a, out)).action == kNext);
    CHECK(path.from_pod(about(family.a, family.world, in)).action == kNext);
    CHECK(path.to_pod(about(family.world, family.a, udp(family.a, family.world, 5, 54))).action ==
          kShot);
  }
}

TEST_CASE("answers to the proxy's own connections go to the proxy") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress, Rows{});
  path.set_policy(kB, kIngress | kEgress, Rows{});
  for (const Family& family : kFamilies) {
    // To the world, as A.
    const PacketBuilder out = tcp(family.a, family.world, 8000, 80, kSyn);
    CHECK(path.from_net(tcp(family.world, family.a, 80, 8000, kSynAck)).mark == 0);
    CHECK(path.to_net(out, WEIR_MARK_FROM_PROXY).action == kNext);
    BpfRun answer = path.from_net(tcp(family.world, family.a, 80, 8000, kSynAck), 0x10000);
    CHECK(answer.action == kPass);
    CHECK(answer.mark == (0x10000 | WEIR_MARK_TO_PROXY));
    CHECK(path.from_net(tcp(family.world, family.a, 80, 8001, kSynAck)).mark == 0);
    // To B on this node, as A: B's own policy has no say in what the proxy sends it.
    CHECK(path.to_pod(tcp(family.a, family.b, 8002, 80, kSyn), WEIR_MARK_FROM_PROXY).action ==
          kNext);
    answer = path.from_pod(tcp(family.b, family.a, 80, 8002, kSynAck));
    CHECK(answer.action == kPass);
    CHECK(answer.mark == WEIR_MARK_TO_PROXY);
    // ICMP errors about them as well; but nobody speaks for another pod.
    answer = path.from_net(PacketBuilder(family.world, family.a).icmp_error(out));
    CHECK(answer.action == kPass);
    CHECK(answer.mark == WEIR_MARK_TO_PROXY);
    CHECK(path.from_pod(PacketBuilder(family.b, family.a).icmp_error(out)).action == kShot);
  }
  CHECK(path.count(WEIR_COUNT_RETURNED) == 6);
  CHECK(path.count(WEIR_COUNT_FROM_PROXY) == 4);
}

TEST_CASE("N12: a pod's own flow takes back the ports that the proxy has used") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    path.to_net(tcp(family.a, family.world, 8000, 80, kSyn), WEIR_MARK_FROM_PROXY);
    CHECK(path.from_pod(tcp(family.a, family.world, 8000, 80, kSyn)).action == kNext);
    CHECK(path.from_net(tcp(family.world, family.a, 80, 8000, kSynAck)).mark == 0);
  }
}

TEST_CASE("a packet meant for the proxy never leaves the node") {
  require_root();
  DataPath path;
  for (const Family& family : kFamilies) {
    CHECK(path.to_net(udp(family.a, family.world, 1, 2), WEIR_MARK_TO_PROXY).action == kShot);
    CHECK(path.to_pod(udp(family.world, family.a, 1, 2), WEIR_MARK_TO_PROXY).action == kShot);
    CHECK(path.to_net(udp(family.a, family.world, 1, 2), 0x400).action == kNext);
  }
  CHECK(path.drops(WEIR_DROP_UNROUTED_MARK, WEIR_EGRESS) == 2);
  CHECK(path.drops(WEIR_DROP_UNROUTED_MARK, WEIR_INGRESS) == 2);
}

TEST_CASE("N7: a pod's marks are taken from it") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress, Rows{});
  for (const Family& family : kFamilies) {
    const BpfRun denied = path.from_pod(udp(family.a, family.world, 1, 2), WEIR_MARK_FROM_PROXY);
    CHECK(denied.action == kShot);
    const BpfRun untouched = path.from_pod(udp(family.b, family.world, 1, 2), 0x10300);
    CHECK(untouched.action == kNext);
    CHECK(untouched.mark == 0x10000);
  }
}

TEST_CASE("an address at the pod's interface that is not the pod's gets nothing") {
  require_root();
  DataPath path;
  CHECK(path.to_pod(udp("192.0.2.9", "10.1.0.77", 1, 2)).action == kShot);
  CHECK(path.to_pod(udp("2001:db8::9", "fd00:1::77", 1, 2)).action == kShot);
}

TEST_CASE("what an audited policy alone refuses passes and is told, once a flow") {
  require_root();
  DataPath path;
  const auto with = [](weir_direction direction, weir_verdict enforced) {
    redirect::PolicyRow all = row(direction, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_DENY, 7);
    redirect::PolicyRow rest = row(direction, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, enforced, 5);
    rest.key.direction |= WEIR_WITHOUT_AUDITED;
    return Rows{all, rest};
  };
  for (const Family& family : kFamilies) {
    path.forget_flows();
    path.events();
    const std::uint64_t before = path.drops(WEIR_DROP_AUDIT, WEIR_EGRESS);
    path.set_policy(kA, kEgress | WEIR_ENDPOINT_AUDITED, with(WEIR_EGRESS, WEIR_ALLOW));
    for (int i = 0; i < 3; ++i) {
      CHECK(path.from_pod(udp(family.a, family.world, 1001, 53)).action == kNext);
    }
    const auto events = path.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].verdict == WEIR_ALLOW);
    CHECK(events[0].reason == WEIR_DROP_AUDIT);
    CHECK(events[0].rule == 7);
    CHECK(path.drops(WEIR_DROP_AUDIT, WEIR_EGRESS) == before + 1);

    path.set_policy(kA, kEgress | WEIR_ENDPOINT_AUDITED, with(WEIR_EGRESS, WEIR_DENY));
    CHECK(path.from_pod(udp(family.a, family.world, 1002, 53)).action == kShot);
    CHECK(path.events().at(0).rule == 5);
    // Without the flag the further rows mean nothing.
    path.set_policy(kA, kEgress, with(WEIR_EGRESS, WEIR_ALLOW));
    CHECK(path.from_pod(udp(family.a, family.world, 1003, 53)).action == kShot);
  }
}
