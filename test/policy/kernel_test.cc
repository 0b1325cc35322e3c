// Random policies × flows through the programs and maps of the running kernel: reference, Program
// and kernel must agree, and while policies change no packet meets more than both the old and the
// new ones allow, whichever map write it comes after.
#include "policy-compiler/eval/sequential_numbers.h"
#include "test/policy/kernel_node.h"
#include "test/support/map_writes.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace weir;
using namespace weir::policy;
using namespace weir::policy::test;
using weir::test::MapWrites;
using weir::test::require_root;

// More: set WEIR_KERNEL_ROUNDS.
int rounds(int in_ci) {
  const char* wanted = std::getenv("WEIR_KERNEL_ROUNDS");
  return wanted != nullptr ? std::atoi(wanted) : in_ci;
}

std::string text_of(const KernelFlow& flow) {
  const auto end = [&](const End& one) {
    return one.name + (one.name.empty() ? "" : " ") + (flow.is_v6 ? one.v6 : one.v4).to_string();
  };
  return end(flow.from) + " to " + end(flow.to) + " protocol " +
         std::to_string(flow.what.protocol) + " port " + std::to_string(flow.what.port);
}

std::string joined(const std::vector<std::string>& policies) {
  std::string out;
  for (const std::string& one : policies) {
    out += "---\n" + one;
  }
  return out;
}

int freedom(Verdict verdict) {
  return verdict == Verdict::kAllow ? 2 : verdict == Verdict::kRedirect ? 1 : 0;
}

int freedom(const KernelNode::Said& said) {
  return said.may_pass_by ? freedom(Verdict::kAllow) : freedom(said.verdict);
}

// By the reference; the node's other names are the reserved identities'.
Verdict by_reference(const KernelNode::State& state, const KernelFlow& flow,
                     const std::vector<Somebody>& outside) {
  const CompileInput& input = *state.in_force.input;
  const Reference reference(input);
  Verdict out = Verdict::kAllow;
  for (const KernelNode::Side& side : KernelNode::sides(state, flow)) {
    const auto endpoint =
        std::find_if(input.endpoints.begin(), input.endpoints.end(),
                     [&](const EndpointInput& one) { return one.id == side.endpoint; });
    const bool egress = side.flow.direction == Direction::kEgress;
    const End& far = egress ? flow.to : flow.from;
    ReferencePeer peer;
    const auto known =
        std::find_if(input.identities.begin(), input.identities.end(),
                     [&](const IdentityInput& one) { return one.id == side.flow.peer; });
    if (!far.name.empty()) {
      peer.labels = *known->labels;
      const auto ports = input.peer_ports.equal_range(side.flow.peer);
      for (auto port = ports.first; port != ports.second; ++port) {
        peer.ports.push_back(port->second);
      }
    } else if (side.flow.peer == WEIR_IDENTITY_HOST) {
      peer.labels = {{"reserved:host", ""}};
    } else if (side.flow.peer == WEIR_IDENTITY_REMOTE_NODE) {
      peer.labels = {{"reserved:remote-node", ""}};
    } else {
      peer = std::find_if(outside.begin(), outside.end(), [&](const Somebody& one) {
               return *one.reference.outside == far.v4;
             })->reference;
    }
    const ReferenceVerdict said =
        reference.decide(*endpoint, peer, side.flow.direction, flow.what.protocol, flow.what.port);
    if (freedom(said.verdict) < freedom(out)) {
      out = said.verdict;
    }
  }
  return out;
}

// Two L7 protocols for one port: the reference does not know what becomes of those.
bool in_conflict(const CompileInput& input) {
  SequentialPrefixes prefixes;
  SequentialBits bits;
  const CompileResult compiled = compile(input, prefixes, bits);
  return std::any_of(compiled.diagnostics.begin(), compiled.diagnostics.end(),
                     [](const Diagnostic& one) { return one.code == "l7-conflict"; });
}

std::string document(const std::string& name, const std::string& spec) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: n1}\nspec: {endpointSelector: {}, " + spec + "}\n";
}

// A new port for each flow: nothing that was decided before counts.
class Ports {
public:
  std::uint16_t next() {
    x_next = x_next == 65'535 ? 10'000 : static_cast<std::uint16_t>(x_next + 1);
    return x_next;
  }

private:
  std::uint16_t x_next = 10'000;
};

// What packets met while something was going on, to be held against what was in force before and
// after.
class Watch {
public:
  Watch(const KernelNode& node, Ports& ports, std::mt19937& random, std::size_t each)
      : x_node(node), x_ports(ports), x_random(random), x_each(each) {
    // Flows that are known already when it begins.
    for (int i = 0; i < 40; ++i) {
      const KernelFlow& flow = some_flow();
      if (flow.what.protocol == 6) {
        const std::uint16_t port = x_ports.next();
        x_running.push_back({&flow, port, x_node.kernel(flow, port)});
      }
    }
  }

  void look() {
    for (std::size_t i = 0; i < x_each; ++i) {
      const KernelFlow& flow = some_flow();
      x_seen.push_back({&flow, 0, x_node.kernel(flow, x_ports.next())});
    }
    for (std::size_t i = 0; i < 3 && !x_running.empty(); ++i) {
      const Seen& one = x_running[x_random() % x_running.size()];
      if (one.verdict != Verdict::kDeny) {
        x_later.push_back({one.flow, one.port, x_node.kernel_later(*one.flow, one.port)});
      }
    }
  }

  // Also whether what was seen was the old or the new verdict and nothing between.
  void check(const KernelNode::State& before, const KernelNode::State& after,
             const std::string& what) {
    for (const Seen& one : x_seen) {
      const auto old = KernelNode::program(before, *one.flow);
      const auto now = KernelNode::program(after, *one.flow);
      changed += old.verdict != now.verdict ? 1 : 0;
      if (!old.agrees(one.verdict) && !now.agrees(one.verdict)) {
        FAIL(text_of(*one.flow) << ": " << int(one.verdict) << " between " << int(old.verdict)
                                << " and " << int(now.verdict) << "\n"
                                << what);
      }
    }
    for (const Seen& one : x_later) {
      // The proxy keeps what it has, which is stricter.
      const auto old = KernelNode::program(before, *one.flow);
      const auto now = KernelNode::program(after, *one.flow);
      if (freedom(one.verdict) > std::max(freedom(old), freedom(now))) {
        FAIL(text_of(*one.flow) << ", running: " << int(one.verdict) << " between "
                                << int(old.verdict) << " and " << int(now.verdict) << "\n"
                                << what);
      }
    }
    packets += x_seen.size() + x_later.size();
  }

  static inline std::size_t packets = 0, changed = 0;

private:
  struct Seen {
    const KernelFlow* flow;
    std::uint16_t port;
    Verdict verdict;
  };
  const KernelFlow& some_flow() { return x_node.flows()[x_random() % x_node.flows().size()]; }

  const KernelNode& x_node;
  Ports& x_ports;
  std::mt19937& x_random;
  std::size_t x_each;
  std::vector<Seen> x_running, x_seen, x_later;
};

} // namespace

TEST_CASE("reference, program and running kernel agree on random policies", "[policy][root]") {
  require_root();
  KernelNode node;
  Ports ports;
  std::mt19937 random(7);
  std::size_t flows = 0, compared = 0;
  std::map<Verdict, std::size_t> met;
  for (int round = 1; round <= rounds(12); ++round) {
    Generator generator(static_cast<std::uint32_t>(round));
    std::vector<std::string> policies;
    for (std::size_t n = 1 + generator.below(5); n > 0; --n) {
      policies.push_back(generator.policy(static_cast<int>(n)));
    }
    node.put_in_force(policies);
    node.learn_names();
    const KernelNode::State state = node.state();
    const bool comparable = !in_conflict(*state.in_force.input);
    for (std::size_t i = 0; i < 1'500; ++i) {
      const KernelFlow& flow = node.flows()[random() % node.flows().size()];
      const Verdict kernel = node.kernel(flow, ports.next());
      const KernelNode::Said program = KernelNode::program(state, flow);
      ++flows;
      ++met[kernel];
      if (!program.agrees(kernel)) {
        FAIL("round " << round << ", " << text_of(flow) << ": program " << int(program.verdict)
                      << ", kernel " << int(kernel) << "\n"
                      << joined(policies));
      }
      if (!comparable) {
        continue;
      }
      ++compared;
      const Verdict reference = by_reference(state, flow, node.outside());
      if (reference != program.verdict) {
        FAIL("round " << round << ", " << text_of(flow) << ": reference " << int(reference)
                      << ", program " << int(program.verdict) << "\n"
                      << joined(policies));
      }
    }
  }
  CHECK(compared > flows / 2);
  CHECK(met[Verdict::kDeny] > flows / 20);
  CHECK(met[Verdict::kAllow] > flows / 20);
  CHECK(met[Verdict::kRedirect] > flows / 200);
  WARN(flows << " flows: " << met[Verdict::kAllow] << " allowed, " << met[Verdict::kDeny]
             << " denied, " << met[Verdict::kRedirect] << " redirected");
}

TEST_CASE("between any two map writes of a policy change nobody may more than before and after",
          "[policy][root]") {
  require_root();
  KernelNode node;
  Ports ports;
  std::mt19937 random(11);
  std::size_t writes = 0;
  const auto change = [&](const std::string& what, const std::vector<std::string>& from,
                          const std::vector<std::string>& to) {
    node.put_in_force(from);
    node.learn_names();
    const KernelNode::State before = node.state();
    Watch watch(node, ports, random, 24);
    {
      const MapWrites observed([&] { watch.look(); });
      node.put_in_force(to);
      writes += observed.count();
    }
    watch.look();
    const KernelNode::State after = node.state();
    watch.check(before, after, what + "\nfrom:\n" + joined(from) + "to:\n" + joined(to));
  };

  const std::string open =
      document("a", "ingress: [{fromEntities: [all]}], egress: [{toEntities: [all]}]");
  const std::string closed = document("a", "ingress: [{}], egress: [{}]");
  const std::string deny = document(
      "d", "egressDeny: [{toCIDR: [10.0.0.0/8]}], ingressDeny: [{fromEndpoints: [{matchLabels: "
           "{app: b}}], toPorts: [{ports: [{port: \"80\"}]}]}]");
  const std::string cidr = document("a", "egress: [{toCIDR: [10.0.0.0/8]}]");
  const std::string hole =
      document("a", "egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}]");
  const std::string l7 = document(
      "a", "ingress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{method: "
           "GET}]}}]}], egress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: "
           "{http: [{path: /a}]}}]}]");
  const std::string names = document("names", "egress: [{toFQDNs: [{matchName: a.example.com}]}]");
  const std::string other = document(
      "names", "egress: [{toFQDNs: [{matchName: b.example.com}, {matchName: example.org}], "
               "toPorts: [{ports: [{port: \"443\"}]}]}, {toFQDNs: [{matchName: "
               "a.example.com}], toPorts: [{ports: [{port: \"80\"}]}]}]");
  const std::string forbidden =
      document("f", "egressDeny: [{toFQDNs: [{matchPattern: \"*.example.com\"}]}]");
  change("allow removed", {open}, {closed});
  change("allow added", {closed}, {open});
  change("deny added", {open}, {open, deny});
  change("deny removed", {open, deny}, {open});
  change("hole made", {cidr}, {hole});
  change("hole closed", {hole}, {cidr});
  change("L7 added", {open}, {l7});
  change("L7 removed", {l7}, {open});
  change("names changed", {names}, {other});
  change("names swapped", {other}, {names});
  change("names denied", {open, names}, {open, names, forbidden});
  change("all policies removed but one of nobody", {closed, deny},
         {"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: "
          "nowhere}\nspec: {endpointSelector: {}, ingress: [{}]}\n"});

  // And whatever comes.
  std::vector<std::string> policies = {open};
  Generator generator(5);
  for (int round = 0; round < rounds(10); ++round) {
    std::vector<std::string> next = policies;
    const std::string made = generator.policy(round + 10);
    switch (generator.below(4)) {
    case 0:
      next.push_back(made);
      break;
    case 1:
      next[generator.below(next.size())] = made;
      break;
    case 2:
      if (next.size() > 1) {
        next.erase(next.begin() + static_cast<std::ptrdiff_t>(generator.below(next.size())));
      }
      break;
    default:
      next.insert(next.begin(), made);
      next.push_back(generator.policy(round + 1'000));
      break;
    }
    change("round " + std::to_string(round), policies, next);
    policies = std::move(next);
  }
  CHECK(Watch::packets > 20'000);
  CHECK(Watch::changed > 1'000);
  WARN(writes << " map writes, " << Watch::packets << " packets, " << Watch::changed
              << " of flows that the change was about");
}

TEST_CASE("an address that is learned is one map write", "[policy][root]") {
  require_root();
  KernelNode node;
  node.put_in_force({document("a", "egress: [{toFQDNs: [{matchPattern: \"*.example.com\"}]}]")});
  const auto in_force = node.state().in_force;
  const std::size_t pods = in_force.registry->endpoints().size();
  std::size_t wanted = 0; // names, by the pod that wants most
  in_force.registry->endpoints().for_each([&](const std::string& /*name*/, const auto& pod) {
    std::size_t by_it = 0;
    for (const Somebody& peer : node.outside()) {
      by_it += static_cast<std::size_t>(
          std::count_if(peer.names.begin(), peer.names.end(), [&](const DnsName& name) {
            return in_force.program->find(pod->id)->fqdn_groups(name) != 0;
          }));
    }
    wanted = std::max(wanted, by_it);
  });
  // Of one namespace; the other's pods have no such policy.
  REQUIRE(wanted > 0);
  const MapWrites writes;
  node.learn_names();
  CHECK(writes.count() == wanted * pods / 2);
}
