// A Compiler that lives through random changes of everything it is given answers, after each of
// them, what compile() answers that knows nothing of before; and what a change does not concern is
// not made anew.
#include "policy-compiler/compiler.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "policy-compiler/model/policy.h"
#include "test/policy/random_world.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace weir;
using namespace weir::policy;
using namespace weir::policy::test;

using Policies = std::vector<std::shared_ptr<const Policy>>;

std::shared_ptr<const Policy> parsed(const std::string& text) {
  const auto documents = parse_policies("random.yaml", text);
  if (documents.size() != 1 || documents.front().policy == nullptr) {
    throw std::runtime_error(text);
  }
  return documents.front().policy;
}

// What Generator does not write: policies that depend on others' content and on services.
std::string linked_policy(Generator& random, int number) {
  const std::string head = "apiVersion: cilium.io/v2\nkind: ";
  const std::string name = "metadata: {name: l" + std::to_string(number);
  const char* const texts[] = {
      "egress: [{toCIDRSet: [{cidrGroupRef: g1, except: [10.1.2.0/24]}]}]",
      "egressDeny: [{toCIDRSet: [{cidrGroupRef: g2}]}]",
      "egress: [{toCIDRSet: [{cidrGroupSelector: {matchLabels: {kind: x}}}]}]",
      "egress: [{toServices: [{k8sService: {serviceName: s1, namespace: n1}}]}]",
      "egress: [{toServices: [{k8sServiceSelector: {selector: {matchLabels: {kind: x}}}}]}]",
      "egress: [{toPorts: [{ports: [{port: http, protocol: TCP}]}]}]",
      "ingress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: "
      "[{headerMatches: "
      "[{name: x, secret: {name: s, namespace: n1}}]}]}}]}]",
  };
  if (random.chance(30)) {
    return head + "CiliumCIDRGroup\n" + "metadata: {name: g" + (random.chance(50) ? "1" : "2") +
           ", labels: {kind: " + (random.chance(50) ? "x" : "z") +
           "}}\nspec: {externalCIDRs: [10." + std::to_string(random.below(3)) +
           ".0.0/16, 192.0.2." + std::to_string(random.below(9)) + "/32]}\n";
  }
  return head + "CiliumNetworkPolicy\n" + name + ", namespace: n1}\nspec: {endpointSelector: {" +
         (random.chance(50) ? "matchLabels: {app: a}" : "") + "}, " +
         texts[random.below(std::size(texts))] + "}\n";
}

class Changes {
public:
  explicit Changes(std::uint32_t seed) : x_random(seed), x_next(seed * 1000) {}

  // Also what was changed, for people.
  std::string apply(CompileInput& input) {
    Policies& policies = input.policies;
    switch (x_random.below(16)) {
    case 0:
    case 1:
    case 2:
      policies.insert(policies.begin() +
                          static_cast<std::ptrdiff_t>(x_random.below(policies.size() + 1)),
                      parsed(x_random.policy(++x_next)));
      return "policy added";
    case 3:
    case 4:
      policies.push_back(parsed(linked_policy(x_random, ++x_next)));
      return "linked policy added";
    case 5:
    case 6:
      return edit(policies);
    case 7:
    case 8:
      if (policies.size() > 3) {
        policies.erase(policies.begin() +
                       static_cast<std::ptrdiff_t>(x_random.below(policies.size())));
      }
      return "policy removed";
    case 9:
      if (policies.size() > 1) {
        std::swap(policies[x_random.below(policies.size())],
                  policies[x_random.below(policies.size())]);
      }
      return "policies swapped";
    case 10:
      return audit(policies);
    case 11:
      return pod(input);
    case 12:
      return relabel(input);
    case 13:
      return service(input);
    case 14:
      return outside(input);
    default:
      return rarely(input);
    }
  }

private:
  // The same policy with another content.
  std::string edit(Policies& policies) {
    if (policies.empty()) {
      return "nothing to edit";
    }
    auto& old = policies[x_random.below(policies.size())];
    auto made = std::make_shared<Policy>(*old);
    if (!made->specs.empty() && !made->specs.front().rules.empty() && x_random.chance(50)) {
      made->specs.front().rules.pop_back();
    } else if (!made->cidr_group) {
      made->specs = parsed(x_random.policy(0))->specs;
    }
    old = std::move(made);
    return "policy edited";
  }

  std::string audit(Policies& policies) {
    if (!policies.empty()) {
      auto& old = policies[x_random.below(policies.size())];
      auto made = std::make_shared<Policy>(*old);
      made->audit = !made->audit;
      old = std::move(made);
    }
    return "audit";
  }

  std::string pod(CompileInput& input) {
    const auto id = static_cast<IdentityId>(5000 + x_random.below(400));
    if (x_random.chance(40) && input.identities.size() > 3) {
      const IdentityId gone = input.identities[x_random.below(input.identities.size())].id;
      std::erase_if(input.identities, [&](const auto& one) { return one.id == gone; });
      input.peer_ports.erase(gone);
      if (x_random.chance(70)) { // else it is held
        std::erase_if(input.endpoints, [&](const auto& one) { return one.identity == gone; });
      }
      return "pod gone";
    }
    const std::string app = x_random.chance(50) ? "a" : "new";
    input.identities.push_back({id,
                                {{"k8s:app", app},
                                 {"k8s:" + label::kNamespace, "n1"},
                                 {"k8s:" + label::kCluster, "default"}}});
    const std::vector<NamedPort> ports = {
        {"http", static_cast<std::uint16_t>(8000 + x_random.below(3)), 6}};
    input.peer_ports.emplace(id, ports.front());
    input.endpoints.push_back({static_cast<EndpointId>(100 + x_next++), id, "n1", app, ports});
    return "pod added";
  }

  std::string relabel(CompileInput& input) {
    IdentityInput& identity = input.identities[x_random.below(input.identities.size())];
    Labels labels = *identity.labels;
    const char* const apps[] = {"a", "b", "c", "d"};
    labels["k8s:app"] = apps[x_random.below(4)];
    if (x_random.chance(50)) {
      labels.erase("k8s:tier");
    } else {
      labels["k8s:tier"] = "x";
    }
    identity = {identity.id, std::move(labels)};
    return "labels changed";
  }

  std::string service(CompileInput& input) {
    input.services.clear();
    for (std::size_t n = x_random.below(3); n > 0; --n) {
      ServiceInput made{"n1", "s" + std::to_string(n), {}, {}, {}};
      if (x_random.chance(50)) {
        made.labels["kind"] = "x";
      }
      if (x_random.chance(50)) {
        made.selector["app"] = x_random.chance(50) ? "a" : "b";
      } else {
        made.backends.push_back(*IpAddress::parse("192.0.2." + std::to_string(x_random.below(4))));
      }
      input.services.push_back(std::move(made));
    }
    return "services changed";
  }

  std::string outside(CompileInput& input) {
    input.outside.clear();
    if (x_random.chance(70)) {
      input.outside.push_back({*IpPrefix::parse(x_random.chance(50) ? "10.1.2.3/32" : "8.8.8.0/24"),
                               {{"reserved:kube-apiserver", ""}}});
    }
    return "outside changed";
  }

  std::string rarely(CompileInput& input) {
    if (x_random.chance(60)) {
      input.header_secrets["n1/s"] = "word" + std::to_string(x_random.below(3));
      return "secret changed";
    }
    if (x_random.chance(50)) {
      input.options.any_cluster = !input.options.any_cluster;
    } else {
      input.options.allow_localhost = !input.options.allow_localhost;
    }
    return "options changed";
  }

  Generator x_random;
  int x_next;
};

std::string name_of(const RuleRef* rule) {
  if (rule == nullptr) {
    return "none";
  }
  return rule->label + ' ' + rule->section + ' ' + std::to_string(rule->rule_number) + ' ' +
         rule->kind + ' ' + rule->file;
}

// Rows in one order, with the rules' names instead of their numbers.
std::vector<std::string> rows_of(const EndpointPolicy& policy, const Program& program) {
  std::vector<std::string> out;
  for (const EndpointPolicy::Row& row : policy.rows()) {
    weir_policy_entry entry = row.entry;
    const RuleRef* rule = program.rule(entry.rule);
    REQUIRE(rule != nullptr);
    REQUIRE(rule->number == entry.rule);
    entry.rule = 0;
    std::string text(sizeof(row.key) + sizeof(entry), '\0');
    std::memcpy(text.data(), &row.key, sizeof(row.key));
    std::memcpy(text.data() + sizeof(row.key), &entry, sizeof(entry));
    out.push_back(text + name_of(rule));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> texts_of(const Diagnostics& diagnostics) {
  std::vector<std::string> out;
  for (const Diagnostic& one : diagnostics) {
    out.push_back(one.text());
  }
  return out;
}

std::string text_of(const FlowDecision& decision) {
  std::string out = std::to_string(static_cast<int>(decision.verdict)) + '/' +
                    std::to_string(static_cast<int>(decision.protocol)) +
                    (decision.any ? " any " : " ") + name_of(decision.rule) + " audited " +
                    name_of(decision.audited);
  for (const L7Rules* rules : decision.alternatives) {
    (void)rules;
    out += " alternative";
  }
  if (decision.protocol == L7Protocol::kHttp) {
    for (const char* path : {"/a", "/b", "/d"}) {
      for (const char* word : {"word0", "word1"}) {
        const std::vector<HttpHeader> headers = {{"x", word}};
        const L7Decision judged = judge_http(decision, {"GET", path, "host", headers});
        out += std::string(judged.allowed ? " allowed by " : " refused by ") + name_of(judged.rule);
      }
    }
  }
  return out;
}

void check_same(const CompileInput& input, const std::vector<Somebody>& peers,
                const CompileResult& kept, const CompileResult& fresh) {
  REQUIRE(texts_of(kept.diagnostics) == texts_of(fresh.diagnostics));
  const auto prefixes = kept.program->prefixes(), wanted = fresh.program->prefixes();
  REQUIRE(std::equal(prefixes.begin(), prefixes.end(), wanted.begin(), wanted.end(),
                     [](const auto& a, const auto& b) {
                       return a.prefix == b.prefix && a.identity == b.identity;
                     }));
  std::vector<IdentityId> asked;
  for (const Somebody& peer : peers) {
    asked.push_back(peer.identity != 0 ? peer.identity
                                       : kernel_identity(*fresh.program, *peer.reference.outside));
  }
  for (const IdentityInput& identity : input.identities) {
    asked.push_back(identity.id);
  }
  for (const EndpointInput& endpoint : input.endpoints) {
    INFO("endpoint " << endpoint.id << " identity " << endpoint.identity);
    const EndpointPolicy* a = kept.program->find(endpoint.id);
    const EndpointPolicy* b = fresh.program->find(endpoint.id);
    REQUIRE((a == nullptr) == (b == nullptr));
    if (a == nullptr) {
      continue;
    }
    REQUIRE(rows_of(*a, *kept.program) == rows_of(*b, *fresh.program));
    REQUIRE(a->audited() == b->audited());
    for (const char* name : {"a.example.com", "b.example.com", "x.y.example.com", "example.org"}) {
      REQUIRE(a->fqdn_groups(*DnsName::from_text(name)) ==
              b->fqdn_groups(*DnsName::from_text(name)));
    }
    for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
      REQUIRE(a->enforced(direction) == b->enforced(direction));
      for (const IdentityId peer : asked) {
        for (const Asked& flow : kFlows) {
          const Flow one{direction, peer, flow.protocol, flow.port,
                         direction == Direction::kEgress ? ~std::uint64_t{0} : 0};
          const std::string here = text_of(a->decide(one)), there = text_of(b->decide(one));
          if (here != there) {
            FAIL("peer " << peer << " port " << flow.port << ": " << here << " instead of "
                         << there);
          }
        }
      }
    }
  }
}

} // namespace

TEST_CASE("after any change a Compiler says what a new one would say", "[policy]") {
  std::size_t taken_over = 0, remade = 0;
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    World world;
    CompileInput& input = world.input;
    Changes changes(seed);
    SequentialPrefixes prefixes;
    Bits bits;
    Compiler compiler;
    std::vector<CompileResult> kept_alive; // as workers keep older snapshots
    std::string history;
    for (int step = 0; step < 40; ++step) {
      history += changes.apply(input) + "; ";
      ++input.revision;
      INFO("seed " << seed << ": " << history);
      CompileResult kept = compiler.compile(input, prefixes, bits);
      check_same(input, world.peers, kept, compile(input, prefixes, bits));
      if (step % 3 == 0) {
        compiler.settle();
      }
      if (!kept_alive.empty()) {
        const Program& before = *kept_alive.back().program;
        for (const EndpointInput& endpoint : input.endpoints) {
          const EndpointPolicy* now = kept.program->find(endpoint.id);
          const EndpointPolicy* then = before.find(endpoint.id);
          if (now != nullptr && then != nullptr && !now->rows().empty()) {
            ++(now->rows().data() == then->rows().data() ? taken_over : remade);
          }
        }
      }
      kept_alive.push_back(std::move(kept));
      if (kept_alive.size() > 3) {
        kept_alive.erase(kept_alive.begin());
      }
    }
  }
  // It is no proof if nothing was taken over, or everything.
  CHECK(taken_over > 1'000);
  CHECK(remade > 500);
  WARN(taken_over << " endpoints taken over, " << remade << " made anew");
}

TEST_CASE("a change of one policy leaves the others' rows and rule numbers as they are",
          "[policy]") {
  const auto policy = [](const std::string& name, const std::string& app, const char* port) {
    return parsed("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
                  ", namespace: n1}\nspec: {endpointSelector: {matchLabels: {app: " + app +
                  "}}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: \"" + port +
                  "\", protocol: TCP}]}]}]}\n");
  };
  World world;
  CompileInput& input = world.input;
  input.policies = {policy("a", "a", "80"), policy("b", "b", "81"), policy("c", "c", "82")};
  SequentialPrefixes prefixes;
  Bits bits;
  Compiler compiler;
  const CompileResult before = compiler.compile(input, prefixes, bits);
  // Another policy in front of all, and another content of the first.
  input.policies.front() = policy("a", "a", "90");
  input.policies.insert(input.policies.begin(), policy("first", "a", "7"));
  const CompileResult after = compiler.compile(input, prefixes, bits);

  std::size_t same = 0, different = 0;
  for (const EndpointInput& endpoint : input.endpoints) {
    const auto then = before.program->find(endpoint.id)->rows();
    const auto now = after.program->find(endpoint.id)->rows();
    const bool touched = endpoint.name == "a" && endpoint.endpoint_namespace == "n1";
    REQUIRE((then.data() == now.data()) == !touched);
    ++(touched ? different : same);
  }
  CHECK(same > 0);
  CHECK(different > 0);

  SECTION("a pod that nobody's rules speak of touches nobody") {
    input.identities.push_back({4711, {{"k8s:app", "other"}, {"k8s:" + label::kNamespace, "n9"}}});
    const CompileResult later = compiler.compile(input, prefixes, bits);
    for (const EndpointInput& endpoint : input.endpoints) {
      REQUIRE(after.program->find(endpoint.id)->rows().data() ==
              later.program->find(endpoint.id)->rows().data());
    }
  }
  SECTION("a new pod that is selected as a peer is known to those who allow it") {
    input.identities.push_back({4711,
                                {{"k8s:app", "other"},
                                 {"k8s:" + label::kNamespace, "n1"},
                                 {"k8s:" + label::kCluster, "default"}}});
    const CompileResult later = compiler.compile(input, prefixes, bits);
    for (const EndpointInput& endpoint : input.endpoints) {
      const bool selected = endpoint.endpoint_namespace == "n1";
      REQUIRE((after.program->find(endpoint.id)->rows().data() !=
               later.program->find(endpoint.id)->rows().data()) == selected);
    }
  }
}

TEST_CASE("a rule's number means another rule only when no row can hold it any more", "[policy]") {
  const auto policy = [](int number) {
    return parsed("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p" +
                  std::to_string(number) +
                  ", namespace: n1}\nspec: {endpointSelector: {}, ingress: [{}]}\n");
  };
  CompileInput input = World().input;
  SequentialPrefixes prefixes;
  Bits bits;
  Compiler compiler;
  std::vector<std::uint32_t> numbers;
  const auto number_of = [&](int policy_number) {
    input.policies = {policy(policy_number)};
    const CompileResult result = compiler.compile(input, prefixes, bits);
    for (std::uint32_t number = 3; number < 100'000; ++number) {
      const RuleRef* rule = result.program->rule(number);
      if (rule != nullptr) {
        return number;
      }
    }
    return 0u;
  };
  // As long as nothing is settled, numbers are never used again.
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 200; ++i) {
    REQUIRE(seen.insert(number_of(i)).second);
  }
  // A policy that is away and comes back before that is the same rule to nobody but people.
  compiler.settle();
  for (int i = 200; i < 400; ++i) {
    REQUIRE(seen.insert(number_of(i)).second);
    compiler.settle();
  }
  // Settled ones come back when there are many, the oldest first.
  std::uint32_t highest = 0;
  for (int i = 400; i < 12'000; ++i) {
    highest = std::max(highest, number_of(i));
    compiler.settle();
  }
  CHECK(highest < 5'000);
}
