// Random policies × flows through three roads that must agree: the reference, the Program, and the
// kernel's own decision (redirect-bpf/bpf/decide.h, as the BPF programs compile it) over the rows
// that the kernel gets, found by longest prefix as its tries find them. kernel_test.cc goes on from
// here with the real programs and maps.
#include "policy-compiler/compile.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "redirect-bpf/bpf/decide.h"
#include "test/policy/random_world.h"

#include <arpa/inet.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>

namespace {

using namespace weir;
using namespace weir::policy;
using namespace weir::policy::test;

// As the kernel's trie compares: the first bits of all bytes behind the prefix length.
bool covers(const weir_policy_key& row, const weir_policy_key& asked) {
  constexpr std::size_t kSkipped = sizeof(row.prefix_length);
  std::uint8_t a[sizeof(weir_policy_key) - kSkipped], b[sizeof(a)];
  std::memcpy(a, reinterpret_cast<const std::uint8_t*>(&row) + kSkipped, sizeof(a));
  std::memcpy(b, reinterpret_cast<const std::uint8_t*>(&asked) + kSkipped, sizeof(b));
  const std::size_t whole = row.prefix_length / 8, rest = row.prefix_length % 8;
  return std::memcmp(a, b, whole) == 0 &&
         (rest == 0 || ((a[whole] ^ b[whole]) & (0xff00u >> rest)) == 0);
}

const weir_policy_entry* longest(const EndpointPolicy& policy, weir_policy_key asked,
                                 IdentityId identity) {
  asked.identity = identity;
  const EndpointPolicy::Row* best = nullptr;
  for (const EndpointPolicy::Row& row : policy.rows()) {
    if (covers(row.key, asked) &&
        (best == nullptr || row.key.prefix_length > best->key.prefix_length)) {
      best = &row;
    }
  }
  return best != nullptr ? &best->entry : nullptr;
}

// What weir_ask() in redirect_tc.bpf.c does with its maps.
Verdict kernel_verdict(const EndpointPolicy& policy, const Flow& flow) {
  if (!policy.enforced(flow.direction)) {
    return Verdict::kAllow;
  }
  weir_policy_key asked{};
  asked.direction = static_cast<std::uint8_t>(flow.direction);
  asked.protocol = flow.protocol;
  asked.port_be = htons(flow.port);
  const bool learned = flow.fqdn_groups != 0 && weir_is_learnable(flow.peer);
  const auto ask = [&] {
    return weir_judge_rows(longest(policy, asked, flow.peer),
                           longest(policy, asked, WEIR_IDENTITY_ANY),
                           learned ? longest(policy, asked, WEIR_IDENTITY_LEARNED) : nullptr,
                           learned ? flow.fqdn_groups : 0, false, flow.peer);
  };
  weir_judgement judgement = ask();
  if (judgement.verdict == WEIR_DENY && policy.audited()) {
    const std::uint32_t rule = judgement.rule;
    asked.direction |= WEIR_WITHOUT_AUDITED;
    judgement = ask();
    weir_soften(&judgement, rule);
  }
  return static_cast<Verdict>(judgement.verdict);
}

// The node's own packets do not pass where they could be redirected, so the kernel lets pass what
// the Program would redirect and then accept whatever it says.
bool means_the_same(Verdict kernel, const FlowDecision& decision, IdentityId peer) {
  return kernel == decision.verdict ||
         (peer == WEIR_IDENTITY_HOST && kernel == Verdict::kAllow && decision.any);
}

} // namespace

TEST_CASE("reference, program and kernel rows agree on random policies", "[policy]") {
  std::size_t flows = 0, requests = 0, misnamed = 0, redirects = 0, denials = 0;
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    const auto random = random_program(seed);
    if (!random) {
      continue;
    }
    const World& world = random->world;
    const CompileResult& compiled = random->compiled;
    const std::string& text = random->text;
    const Reference reference(world.input);
    for (const EndpointInput& endpoint : world.input.endpoints) {
      const EndpointPolicy* policy = compiled.program->find(endpoint.id);
      REQUIRE(policy != nullptr);
      for (const Somebody& peer : world.peers) {
        Flow flow;
        flow.peer = peer.identity != 0
                        ? peer.identity
                        : kernel_identity(*compiled.program, *peer.reference.outside);
        std::uint64_t groups = 0;
        for (const DnsName& name : peer.names) {
          groups |= policy->fqdn_groups(name);
        }
        for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
          flow.direction = direction;
          flow.fqdn_groups = direction == Direction::kEgress ? groups : 0;
          for (const Asked& asked : kFlows) {
            flow.protocol = asked.protocol;
            flow.port = asked.port;
            const ReferenceVerdict expected =
                reference.decide(endpoint, peer.reference, direction, asked.protocol, asked.port);
            const FlowDecision decision = policy->decide(flow);
            const Verdict kernel = kernel_verdict(*policy, flow);
            ++flows;
            redirects += decision.verdict == Verdict::kRedirect ? 1 : 0;
            denials += decision.verdict == Verdict::kDeny ? 1 : 0;
            if (decision.verdict != expected.verdict ||
                !means_the_same(kernel, decision, flow.peer) ||
                decision.protocol != expected.protocol ||
                policy->enforced(direction) != expected.enforced) {
              FAIL("seed " << seed << " endpoint " << endpoint.id << " peer " << flow.peer
                           << " direction " << int(direction) << " protocol " << int(asked.protocol)
                           << " port " << asked.port << ": reference " << int(expected.verdict)
                           << '/' << int(expected.protocol) << ", program " << int(decision.verdict)
                           << '/' << int(decision.protocol) << ", rows " << int(kernel) << "\n"
                           << text);
            }
            REQUIRE(decision.rule != nullptr);
            if (decision.protocol != L7Protocol::kHttp) {
              continue;
            }
            for (const char* method : {"GET", "PUT"}) {
              for (const char* path : {"/a", "/a/x", "/b", "/c", "/d"}) {
                for (const char* host : {"a.example.com", "example.org"}) {
                  ++requests;
                  // Learned for this address, or for another one.
                  const DnsName name = DnsName::from_text(host).value();
                  const bool learned =
                      std::find(peer.names.begin(), peer.names.end(), name) != peer.names.end();
                  const L7Decision judged = judge_http(decision, {method, path, host, {}},
                                                       learned ? policy->fqdn_groups(name) : 0);
                  misnamed += judged.reason == kNotItsName ? 1 : 0;
                  if (judged.allowed != reference.http(endpoint, peer.reference, direction,
                                                       asked.port, {method, path, host})) {
                    FAIL("seed " << seed << " endpoint " << endpoint.id << " peer " << flow.peer
                                 << " port " << asked.port << ' ' << method << ' ' << host << path
                                 << ": " << judged.allowed << "\n"
                                 << text);
                  }
                }
              }
            }
          }
        }
      }
    }
  }
  // The generator has to reach what it is for.
  CHECK(flows > 100'000);
  CHECK(requests > 10'000);
  CHECK(misnamed > 100);
  CHECK(redirects > 1'000);
  CHECK(denials > 10'000);
  WARN(flows << " flows, " << redirects << " redirected, " << denials << " denied, " << requests
             << " requests");
}

// With some policies audited, a flow or request passes when all policies let it pass, or those that
// are enforced do; told as AUDIT in the second case. Both are known from programs without audit.
TEST_CASE("audited policies refuse nothing, and the others still do", "[policy]") {
  std::size_t audits = 0, denials = 0;
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    const auto random = random_program(seed);
    if (!random) {
      continue;
    }
    SequentialPrefixes prefixes;
    SequentialBits bits;
    CompileInput mixed_input = random->world.input, enforced_input = random->world.input;
    enforced_input.policies.clear();
    for (std::size_t i = 0; i < mixed_input.policies.size(); ++i) {
      if ((seed + i) % 3 == 0) {
        auto audited = std::make_shared<Policy>(*mixed_input.policies[i]);
        audited->audit = true;
        mixed_input.policies[i] = std::move(audited);
      } else {
        enforced_input.policies.push_back(mixed_input.policies[i]);
      }
    }
    const auto all = compile(random->world.input, prefixes, bits);
    const auto mixed = compile(mixed_input, prefixes, bits);
    const auto enforced = compile(enforced_input, prefixes, bits);
    for (const EndpointInput& endpoint : random->world.input.endpoints) {
      for (const Somebody& peer : random->world.peers) {
        Flow flow;
        flow.peer = peer.identity != 0 ? peer.identity
                                       : kernel_identity(*all.program, *peer.reference.outside);
        for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
          flow.direction = direction;
          for (const Asked& asked : kFlows) {
            flow.protocol = asked.protocol;
            flow.port = asked.port;
            const EndpointPolicy& policy = *mixed.program->find(endpoint.id);
            const FlowDecision by_all = all.program->find(endpoint.id)->decide(flow);
            // Fewer policies name fewer prefixes.
            Flow same = flow;
            same.peer = peer.identity != 0
                            ? peer.identity
                            : kernel_identity(*enforced.program, *peer.reference.outside);
            const FlowDecision by_enforced = enforced.program->find(endpoint.id)->decide(same);
            const FlowDecision decision = policy.decide(flow);
            INFO("seed " << seed << " endpoint " << endpoint.id << " peer " << flow.peer << " port "
                         << asked.port << "\n"
                         << random->text);
            const bool refused = by_all.verdict == Verdict::kDeny;
            REQUIRE(decision.verdict == (refused ? by_enforced.verdict : by_all.verdict));
            REQUIRE((decision.audited != nullptr) ==
                    (refused && by_enforced.verdict != Verdict::kDeny));
            REQUIRE(means_the_same(kernel_verdict(policy, flow), decision, flow.peer));
            denials += decision.verdict == Verdict::kDeny ? 1 : 0;
            if (decision.protocol != L7Protocol::kHttp) {
              continue;
            }
            for (const char* path : {"/a", "/a/x", "/b", "/d"}) {
              const HttpRequest request{"GET", path, "host", {}};
              const auto passes = [&](const FlowDecision& by) {
                return by.verdict == Verdict::kAllow ||
                       (by.verdict == Verdict::kRedirect && judge_http(by, request).allowed);
              };
              const L7Decision judged = judge_http(decision, request);
              REQUIRE(judged.allowed == (passes(by_all) || passes(by_enforced)));
              REQUIRE(judged.audit == (judged.allowed && !passes(by_all)));
              audits += judged.audit ? 1 : 0;
            }
          }
        }
      }
    }
  }
  CHECK(audits > 100);
  CHECK(denials > 1'000);
}
