#include "redirect-bpf/bpf/decide.h"

#include "proxy/base/ip.h"
#include "test/bpf/judge_cases.h"

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <string_view>

using namespace weir;
using namespace weir::test;

namespace {

weir_addr address(std::string_view text) {
  weir_addr abi{};
  std::memcpy(abi.bytes, IpAddress::parse(text).value().bytes().data(), sizeof(abi.bytes));
  return abi;
}

weir_policy_entry entry(const Row& row) {
  weir_policy_entry entry{};
  entry.verdict = static_cast<__u8>(row.verdict);
  entry.rule = row.rule;
  return entry;
}

constexpr std::uint32_t kPeer = 300;

} // namespace

TEST_CASE("policy rows are joined by strictness") {
  for (const JudgeCase& c : kJudgeCases) {
    INFO(c.name);
    weir_policy_entry peer{}, any{}, learned{};
    if (c.peer) {
      peer = entry(*c.peer);
    }
    if (c.any) {
      any = entry(*c.any);
    }
    if (c.learned) {
      learned.fqdn_deny = c.learned->deny;
      learned.fqdn_redirect = c.learned->redirect;
      learned.fqdn_allow = c.learned->allow;
      learned.rule = c.learned->rule;
    }
    const weir_judgement judgement =
        weir_judge_rows(c.peer ? &peer : nullptr, c.any ? &any : nullptr,
                        c.learned ? &learned : nullptr, c.expired ? 0 : c.groups, c.expired, kPeer);
    CHECK(judgement.verdict == c.verdict);
    CHECK(judgement.reason == c.reason);
    CHECK(judgement.rule == c.rule);
    CHECK(judgement.judged == 1);
  }
}

TEST_CASE("a verdict that this version does not know denies") {
  weir_policy_entry row{};
  row.verdict = 9;
  CHECK(weir_judge_rows(&row, nullptr, nullptr, 0, false, kPeer).verdict == WEIR_DENY);
}

TEST_CASE("the node itself is not redirected by a rule for everybody when a rule allows it") {
  const weir_policy_entry allow = entry({WEIR_ALLOW, 1});
  const weir_policy_entry redirect = entry({WEIR_REDIRECT, 2});
  const weir_policy_entry deny = entry({WEIR_DENY, 3});
  CHECK(weir_judge_rows(&allow, &redirect, nullptr, 0, false, WEIR_IDENTITY_HOST).verdict ==
        WEIR_ALLOW);
  CHECK(weir_judge_rows(nullptr, &redirect, nullptr, 0, false, WEIR_IDENTITY_HOST).verdict ==
        WEIR_REDIRECT);
  CHECK(weir_judge_rows(&allow, &deny, nullptr, 0, false, WEIR_IDENTITY_HOST).verdict == WEIR_DENY);
}

TEST_CASE("names open outside addresses only") {
  for (const __u32 identity : {2u, 9u, 10u, 1u << 24, (1u << 24) + 5}) {
    CHECK(weir_is_learnable(identity));
  }
  for (const __u32 identity : {0u, 1u, 3u, 6u, 7u, 255u, 256u, 300u, (1u << 24) - 1}) {
    CHECK_FALSE(weir_is_learnable(identity));
  }
}

TEST_CASE("an unknown address is the world of its family") {
  const weir_addr v4 = address("192.0.2.1"), v6 = address("2001:db8::1");
  CHECK(weir_unknown_identity(&v4) == WEIR_IDENTITY_WORLD_IPV4);
  CHECK(weir_unknown_identity(&v6) == WEIR_IDENTITY_WORLD_IPV6);
}

TEST_CASE("a flow lives as long as its protocol and state let it") {
  const __u64 second = WEIR_SECOND_NS;
  CHECK(weir_flow_lifetime_ns(WEIR_PROTO_TCP, 0) == 120 * second);
  CHECK(weir_flow_lifetime_ns(WEIR_PROTO_TCP, WEIR_CT_REPLIED) == 21600 * second);
  CHECK(weir_flow_lifetime_ns(WEIR_PROTO_TCP, WEIR_CT_REPLIED | WEIR_CT_CLOSING) == 120 * second);
  CHECK(weir_flow_lifetime_ns(WEIR_PROTO_UDP, WEIR_CT_REPLIED) == 60 * second);
  CHECK(weir_is_stale(100, 10, 89));
  CHECK_FALSE(weir_is_stale(100, 10, 90));
  CHECK_FALSE(weir_is_stale(10, 100, 5)); // another CPU's clock was read later
}

TEST_CASE("a connection that the proxy has ended stays with it") {
  CHECK(weir_keep_verdict(WEIR_REDIRECT, WEIR_ALLOW, WEIR_PROTO_TCP) == WEIR_REDIRECT);
  CHECK(weir_keep_verdict(WEIR_REDIRECT, WEIR_DENY, WEIR_PROTO_TCP) == WEIR_DENY);
  CHECK(weir_keep_verdict(WEIR_ALLOW, WEIR_REDIRECT, WEIR_PROTO_TCP) == WEIR_REDIRECT);
  CHECK(weir_keep_verdict(WEIR_REDIRECT, WEIR_ALLOW, WEIR_PROTO_UDP) == WEIR_ALLOW);
}

TEST_CASE("only a bare SYN opens a connection") {
  CHECK(weir_is_open(WEIR_PROTO_TCP, WEIR_TCP_SYN));
  CHECK(weir_is_open(WEIR_PROTO_TCP, WEIR_TCP_SYN | 0xc0)); // ECN negotiation
  CHECK_FALSE(weir_is_open(WEIR_PROTO_TCP, WEIR_TCP_SYN | WEIR_TCP_ACK));
  CHECK_FALSE(weir_is_open(WEIR_PROTO_TCP, WEIR_TCP_ACK));
  CHECK_FALSE(weir_is_open(WEIR_PROTO_UDP, WEIR_TCP_SYN));
}

TEST_CASE("what is remembered of the proxy's connection is a time and whether it was reset") {
  for (const bool reset : {true, false}) {
    const std::uint64_t value = weir_return_value(5 * WEIR_SECOND_NS + 1, reset);
    CHECK((value & WEIR_RETURN_RESET) == (reset ? 1 : 0));
    CHECK(weir_return_alive(6 * WEIR_SECOND_NS, value, WEIR_PROTO_TCP));
    CHECK_FALSE(weir_return_alive(30'000 * WEIR_SECOND_NS, value, WEIR_PROTO_TCP));
  }
}

TEST_CASE("a reset answers everything of TCP that acknowledges something, but no reset") {
  CHECK(weir_is_answered_with_reset(WEIR_PROTO_TCP, WEIR_TCP_ACK));
  CHECK(weir_is_answered_with_reset(WEIR_PROTO_TCP, WEIR_TCP_ACK | WEIR_TCP_FIN));
  CHECK_FALSE(weir_is_answered_with_reset(WEIR_PROTO_TCP, WEIR_TCP_ACK | WEIR_TCP_RST));
  CHECK_FALSE(weir_is_answered_with_reset(WEIR_PROTO_TCP, WEIR_TCP_SYN));
  CHECK_FALSE(weir_is_answered_with_reset(WEIR_PROTO_UDP, WEIR_TCP_ACK));
}

TEST_CASE("a redirected packet is marked, looked up or assigned") {
  CHECK(weir_redirect_step(WEIR_PROTO_UDP, false, WEIR_CT_SETTLED) == WEIR_STEP_ASSIGN);
  CHECK(weir_redirect_step(WEIR_PROTO_TCP, true, 0) == WEIR_STEP_LOOK_UP);
  CHECK(weir_redirect_step(WEIR_PROTO_TCP, true, WEIR_CT_SETTLED) == WEIR_STEP_LOOK_UP);
  CHECK(weir_redirect_step(WEIR_PROTO_TCP, false, 0) == WEIR_STEP_LOOK_UP);
  CHECK(weir_redirect_step(WEIR_PROTO_TCP, false, WEIR_CT_SETTLED) == WEIR_STEP_MARK);
  CHECK(weir_redirect_step(WEIR_PROTO_TCP, false, WEIR_CT_SETTLED | WEIR_CT_CLOSING) ==
        WEIR_STEP_LOOK_UP);
  CHECK(weir_redirect_step(WEIR_PROTO_SCTP, false, 0) == WEIR_STEP_REFUSE);
}

TEST_CASE("a packet goes by its flow's verdict alone where no service has a part in it") {
  for (const bool answer : {false, true}) {
    for (const bool may_redirect : {false, true}) {
      CHECK(weir_is_recalled(WEIR_ALLOW, WEIR_CT_PLAIN, answer, may_redirect));
      CHECK_FALSE(weir_is_recalled(WEIR_ALLOW, 0, answer, may_redirect));
      CHECK_FALSE(weir_is_recalled(WEIR_DENY, WEIR_CT_PLAIN, answer, may_redirect));
      CHECK_FALSE(weir_is_recalled(WEIR_REDIRECT, 0, answer, may_redirect));
      CHECK_FALSE(weir_is_recalled(99, WEIR_CT_PLAIN, answer, may_redirect));
    }
  }
  // To the proxy only where a packet can be handed to it; from it only where it is delivered.
  CHECK(weir_is_recalled(WEIR_REDIRECT, WEIR_CT_PLAIN, false, true));
  CHECK(weir_is_recalled(WEIR_REDIRECT, WEIR_CT_PLAIN, true, false));
  CHECK_FALSE(weir_is_recalled(WEIR_REDIRECT, WEIR_CT_PLAIN, false, false));
  CHECK_FALSE(weir_is_recalled(WEIR_REDIRECT, WEIR_CT_PLAIN, true, true));
}

TEST_CASE("neighbour messages pass where they cannot leave the link") {
  const weir_addr multicast = address("ff02::1:ff00:1"), link = address("fe80::1"),
                  global = address("2001:db8::1"), wide = address("ff0e::1");
  CHECK(weir_is_neighbour_message(135, 255, &multicast, false));
  CHECK(weir_is_neighbour_message(134, 255, &link, false));
  CHECK(weir_is_neighbour_message(143, 1, &multicast, false));
  CHECK(weir_is_neighbour_message(136, 255, &global, true));
  CHECK_FALSE(weir_is_neighbour_message(136, 255, &global, false));
  CHECK_FALSE(weir_is_neighbour_message(136, 64, &global, true));
  CHECK_FALSE(weir_is_neighbour_message(134, 255, &global, true));
  CHECK_FALSE(weir_is_neighbour_message(135, 255, &wide, false));
  CHECK_FALSE(weir_is_neighbour_message(128, 255, &multicast, true));
}

TEST_CASE("a redirect message is no error that belongs to a flow") {
  CHECK(weir_icmp_role(false, 3) == WEIR_ICMP_ERROR);
  CHECK(weir_icmp_role(false, 5) == WEIR_ICMP_OTHER);
  CHECK(weir_icmp_role(true, 2) == WEIR_ICMP_ERROR);
  CHECK(weir_icmp_role(true, 137) == WEIR_ICMP_OTHER);
  CHECK(weir_icmp_role(false, 8) == WEIR_ICMP_REQUEST);
  CHECK(weir_icmp_role(true, 129) == WEIR_ICMP_REPLY);
}

TEST_CASE("a pod cannot set weir's marks, and others' bits stay") {
  CHECK(weir_without_mark(0x12200) == 0x12000);
  CHECK(weir_without_mark(0x300) == 0);
  CHECK(weir_without_mark(0x12400) == 0x12000);
  CHECK(weir_without_mark(0x12500) == 0x12500);
  CHECK(weir_with_mark(0x12f01, WEIR_MARK_TO_PROXY) == 0x12201);
}

TEST_CASE("a flow to a service keeps its backend as long as it may") {
  const auto step = [](std::uint8_t protocol, bool opens, bool known, bool is_service,
                       bool same_set, bool member, std::uint32_t backends) {
    return weir_service_step(protocol, opens, known, is_service, same_set, member, backends);
  };
  // A new connection, one whose SYN is sent again, one whose backend is gone, one without any.
  CHECK(step(WEIR_PROTO_TCP, true, false, true, false, false, 3) == WEIR_SERVICE_CHOOSE);
  CHECK(step(WEIR_PROTO_TCP, true, true, true, true, true, 3) == WEIR_SERVICE_KEEP);
  CHECK(step(WEIR_PROTO_TCP, true, true, true, false, true, 3) == WEIR_SERVICE_KEEP);
  CHECK(step(WEIR_PROTO_TCP, true, true, true, false, false, 3) == WEIR_SERVICE_CHOOSE);
  CHECK(step(WEIR_PROTO_TCP, true, false, true, false, false, 0) == WEIR_SERVICE_REFUSE);
  // In the middle of a connection: whatever became of backend and service.
  CHECK(step(WEIR_PROTO_TCP, false, true, true, false, false, 0) == WEIR_SERVICE_KEEP);
  CHECK(step(WEIR_PROTO_TCP, false, true, false, false, false, 0) == WEIR_SERVICE_KEEP);
  CHECK(step(WEIR_PROTO_TCP, false, false, true, false, false, 3) == WEIR_SERVICE_LEAVE);
  // Datagrams move on.
  CHECK(step(WEIR_PROTO_UDP, false, true, true, false, true, 3) == WEIR_SERVICE_KEEP);
  CHECK(step(WEIR_PROTO_UDP, false, true, true, false, false, 3) == WEIR_SERVICE_CHOOSE);
  CHECK(step(WEIR_PROTO_UDP, false, true, true, false, false, 0) == WEIR_SERVICE_REFUSE);
  CHECK(step(WEIR_PROTO_UDP, false, true, false, false, false, 0) == WEIR_SERVICE_LEAVE);
}

TEST_CASE("a reversed tuple is the tuple of the answer") {
  weir_tuple tuple{};
  tuple.source = address("10.0.0.1");
  tuple.destination = address("10.0.0.2");
  tuple.source_port_be = 1;
  tuple.destination_port_be = 2;
  tuple.protocol = 6;
  weir_tuple once, twice;
  weir_reverse(&tuple, &once);
  weir_reverse(&once, &twice);
  CHECK(weir_same_address(&once.source, &tuple.destination));
  CHECK(once.source_port_be == 2);
  CHECK(std::memcmp(&twice, &tuple, sizeof(tuple)) == 0);
}

TEST_CASE(
    "what an audited policy alone refuses passes by its rule, and what others refuse does not") {
  weir_judgement enforced{};
  enforced.verdict = WEIR_REDIRECT;
  enforced.rule = 5;
  weir_soften(&enforced, 7);
  CHECK(enforced.verdict == WEIR_REDIRECT);
  CHECK(enforced.rule == 7);
  CHECK(enforced.reason == WEIR_DROP_AUDIT);
  enforced.verdict = WEIR_DENY;
  enforced.rule = 5;
  enforced.reason = WEIR_DROP_POLICY_DENY;
  weir_soften(&enforced, 7);
  CHECK(enforced.rule == 5);
  CHECK(enforced.reason == WEIR_DROP_POLICY_DENY);
}

TEST_CASE("a message between joined sockets overtakes nothing and piles up nowhere") {
  constexpr std::uint32_t kBytes = 1000, kMessages = 3;
  weir_join_view view{
      .written = 500, .read = 500, .queued = 0, .buffer = 10'000, .messages = 0, .size = 1000};
  const auto step = [&view] { return weir_join_step(&view, kBytes, kMessages); };
  CHECK(step() == WEIR_JOIN_SOCKETS);

  view.read = 499;
  CHECK(step() == WEIR_JOIN_UNREAD);
  // Numbers begin again after 2^32; "less" would mean nothing.
  view.written = 3;
  view.read = 0xfffffff0u;
  CHECK(step() == WEIR_JOIN_UNREAD);
  view.read = 3;
  CHECK(step() == WEIR_JOIN_SOCKETS);

  view.size = 1001;
  CHECK(step() == WEIR_JOIN_FULL);
  view.size = 1;
  view.queued = 999;
  CHECK(step() == WEIR_JOIN_SOCKETS);
  view.queued = 1000;
  CHECK(step() == WEIR_JOIN_FULL);
  view.queued = 0xffffffffu; // no sum that comes out small again
  CHECK(step() == WEIR_JOIN_FULL);
  view.size = 0xffffffffu;
  view.queued = 2;
  CHECK(step() == WEIR_JOIN_FULL);

  // Half of a small buffer.
  view.size = 1;
  view.buffer = 100;
  view.queued = 49;
  CHECK(step() == WEIR_JOIN_SOCKETS);
  view.queued = 50;
  CHECK(step() == WEIR_JOIN_FULL);

  // As many messages as may wait, until the queue is seen empty.
  view.queued = 10;
  view.messages = kMessages - 1;
  CHECK(step() == WEIR_JOIN_SOCKETS);
  view.messages = kMessages;
  CHECK(step() == WEIR_JOIN_FULL);
  view.queued = 0;
  CHECK(step() == WEIR_JOIN_SOCKETS);
}

TEST_CASE("what came by an interface without programs is held as a pod's, and nothing else is") {
  constexpr std::uint32_t kOff = 0, kPods = WEIR_BIRTHS_HELD,
                          kAll = WEIR_BIRTHS_HELD | WEIR_BIRTHS_VETHS;
  for (const std::uint8_t kind :
       {WEIR_INTERFACE_UNTOLD, WEIR_INTERFACE_GONE, WEIR_INTERFACE_VETH, WEIR_INTERFACE_OTHER}) {
    for (const bool other : {false, true}) {
      for (const bool from_pod : {false, true}) {
        INFO("kind " << int{kind} << ", other " << other << ", from a pod " << from_pod);
        CHECK_FALSE(weir_holds_birth(kind, kOff, other, from_pod));
        CHECK_FALSE(weir_holds_birth(kind, WEIR_BIRTHS_VETHS, other, from_pod));
        const bool there = kind != WEIR_INTERFACE_GONE;
        CHECK(weir_holds_birth(kind, kPods, other, from_pod) == (there && from_pod));
        CHECK(weir_holds_birth(kind, kAll, other, from_pod) ==
              (there && (from_pod || (kind == WEIR_INTERFACE_VETH && !other))));
      }
    }
  }
}

TEST_CASE("what comes up through a bridge of pods is held unless its pod has a port there") {
  constexpr std::uint32_t kPods = WEIR_BIRTHS_HELD, kAll = WEIR_BIRTHS_HELD | WEIR_BIRTHS_VETHS;
  for (const std::uint32_t flags : {0u, kPods, kAll}) {
    CHECK_FALSE(weir_holds_at_bridge(flags, true, true));
  }
  CHECK_FALSE(weir_holds_at_bridge(0, true, false));
  CHECK_FALSE(weir_holds_at_bridge(0, false, false));
  CHECK(weir_holds_at_bridge(kPods, true, false));
  CHECK_FALSE(weir_holds_at_bridge(kPods, false, false));
  CHECK(weir_holds_at_bridge(kAll, true, false));
  CHECK(weir_holds_at_bridge(kAll, false, false));
}

TEST_CASE(
    "connections are not joined where the ones before them were hardly used, but for a sample") {
  std::uint32_t briefs = 0;
  for (int i = 0; i < 100; ++i) {
    CHECK(weir_join_worth(briefs, 1) == (i < WEIR_JOIN_BRIEFS));
    CHECK(weir_join_worth(briefs, WEIR_JOIN_SAMPLE));
    // The other end of each, which does not count.
    CHECK(weir_join_briefs(briefs, false, WEIR_JOIN_PAYS - 1) == briefs);
    briefs = weir_join_briefs(briefs, true, WEIR_JOIN_PAYS - 1);
  }
  // One that was used by either end is enough.
  CHECK(weir_join_briefs(briefs, true, WEIR_JOIN_PAYS) == 0);
  CHECK(weir_join_briefs(briefs, false, WEIR_JOIN_PAYS) == 0);
}
