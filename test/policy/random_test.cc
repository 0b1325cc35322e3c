// Random policies × flows through three roads that must agree: the reference, the Program, and the
// rows that the kernel gets, read by a plain model of the kernel's look-up.
#include "policy-compiler/compile.h"
#include "test/policy/reference.h"

#include <arpa/inet.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

#include <cstdlib>
#include <map>
#include <random>

namespace {

using namespace weir;
using namespace weir::policy;
using namespace weir::policy::test;

class Prefixes : public PrefixIdentities {
public:
  IdentityId identity_of(const IpPrefix& prefix) override {
    return x_numbers
        .try_emplace(prefix, static_cast<IdentityId>(WEIR_IDENTITY_FIRST_PREFIX + x_numbers.size()))
        .first->second;
  }

private:
  std::map<IpPrefix, IdentityId> x_numbers;
};

class Bits : public FqdnGroupBits {
public:
  std::optional<unsigned> bit_of(EndpointId endpoint, const std::string& group) override {
    auto& bits = x_bits[endpoint];
    return bits.try_emplace(group, static_cast<unsigned>(63 - bits.size())).first->second;
  }

private:
  std::map<EndpointId, std::map<std::string, unsigned>> x_bits;
};

// --- the kernel's side, as weir_abi.h tells it

bool covers(const weir_policy_key& row, const weir_policy_key& asked) {
  if (row.identity != asked.identity || row.direction != asked.direction) {
    return false;
  }
  if (row.prefix_length >= WEIR_POLICY_PREFIX_ANY_PORT && row.protocol != asked.protocol) {
    return false;
  }
  if (row.prefix_length <= WEIR_POLICY_PREFIX_ANY_PORT) {
    return true;
  }
  const unsigned open = WEIR_POLICY_PREFIX_FULL - row.prefix_length;
  return ntohs(row.port_be) >> open == ntohs(asked.port_be) >> open;
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

Verdict kernel_verdict(const EndpointPolicy& policy, const Flow& flow) {
  if (!policy.enforced(flow.direction)) {
    return Verdict::kAllow;
  }
  weir_policy_key asked{};
  asked.direction = static_cast<std::uint8_t>(flow.direction);
  asked.protocol = flow.protocol;
  asked.port_be = htons(flow.port);
  bool deny = false, redirect = false, allow = false;
  for (const IdentityId identity : {flow.peer, IdentityId{WEIR_IDENTITY_ANY}}) {
    if (const weir_policy_entry* entry = longest(policy, asked, identity)) {
      deny = deny || entry->verdict == WEIR_DENY;
      redirect = redirect || entry->verdict == WEIR_REDIRECT;
      allow = allow || entry->verdict == WEIR_ALLOW;
    }
  }
  if (flow.fqdn_groups != 0) {
    if (const weir_policy_entry* entry = longest(policy, asked, WEIR_IDENTITY_LEARNED)) {
      deny = deny || (entry->fqdn_deny & flow.fqdn_groups) != 0;
      redirect = redirect || (entry->fqdn_redirect & flow.fqdn_groups) != 0;
      allow = allow || (entry->fqdn_allow & flow.fqdn_groups) != 0;
    }
  }
  return deny       ? Verdict::kDeny
         : redirect ? Verdict::kRedirect
         : allow    ? Verdict::kAllow
                    : Verdict::kDeny;
}

// --- random policies, as text: what nobody writes is not worth testing

class Generator {
public:
  explicit Generator(std::uint32_t seed) : x_random(seed) {}

  std::size_t below(std::size_t count) { return x_random() % count; }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <std::size_t N>
  const char* one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }

  std::string policy(int number) {
    static constexpr const char* kNamespaces[] = {"n1", "n2"};
    if (chance(15)) {
      return network_policy(number);
    }
    const bool wide = chance(25);
    std::string out = std::string("apiVersion: cilium.io/v2\nkind: Cilium") +
                      (wide ? "Clusterwide" : "") + "NetworkPolicy\nmetadata: {name: p" +
                      std::to_string(number) +
                      (wide ? "}" : std::string(", namespace: ") + one_of(kNamespaces) + "}") +
                      "\nspec: {endpointSelector: " + selector(false);
    if (chance(20)) {
      out += std::string(", enableDefaultDeny: {ingress: ") + (chance(50) ? "true" : "false") +
             ", egress: " + (chance(50) ? "true" : "false") + "}";
    }
    bool any = false;
    for (const char* section : {"ingress", "egress", "ingressDeny", "egressDeny"}) {
      const bool deny = std::string_view(section).ends_with("Deny");
      if (!chance(deny ? 20 : 55) && (any || deny || section[0] != 'e')) {
        continue;
      }
      any = true;
      out += std::string(", ") + section + ": [";
      for (std::size_t n = 1 + below(3); n > 0; --n) {
        out += rule(section[0] == 'i', deny) + ", ";
      }
      out += "]";
    }
    return out + "}\n";
  }

private:
  std::string selector(bool peer) {
    static constexpr const char* kChoices[] = {
        "{}",
        "{matchLabels: {app: a}}",
        "{matchLabels: {\"k8s:app\": b}}",
        "{matchExpressions: [{key: app, operator: In, values: [a, c]}]}",
        "{matchExpressions: [{key: app, operator: NotIn, values: [b]}]}",
        "{matchExpressions: [{key: tier, operator: Exists}]}",
        "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
        "{matchLabels: {app: a, tier: x}}"};
    static constexpr const char* kPeers[] = {
        "{matchLabels: {\"k8s:io.kubernetes.pod.namespace\": n2}}",
        "{matchLabels: {io.kubernetes.pod.namespace: n1, app: b}}",
        "{matchLabels: {\"reserved:host\": \"\"}}",
        "{matchExpressions: [{key: \"k8s:io.kubernetes.pod.namespace\", operator: Exists}]}"};
    return peer && chance(35) ? one_of(kPeers) : one_of(kChoices);
  }

  std::string peers(bool ingress, bool deny) {
    static constexpr const char* kEntities[] = {"all",  "world",       "cluster", "host",
                                                "none", "remote-node", "health",  "kube-apiserver"};
    static constexpr const char* kCidrs[] = {"10.0.0.0/8",    "10.1.0.0/16",       "0.0.0.0/0",
                                             "\"::/0\"",      "10.1.2.0/24",       "192.0.2.7/32",
                                             "172.16.0.0/12", "\"2001:db8::/32\"", "0.0.0.0/1"};
    static constexpr const char* kNames[] = {"{matchName: a.example.com}",
                                             "{matchName: b.example.com}",
                                             "{matchPattern: \"*.example.com\"}",
                                             "{matchPattern: \"**.example.com\"}",
                                             "{matchPattern: \"*\"}",
                                             "{matchName: example.org}"};
    const std::string side = ingress ? "from" : "to";
    const std::size_t kind = below(ingress ? 5 : 6);
    if (kind == 0) {
      return {};
    }
    std::string field = side + (kind == 1   ? "Endpoints"
                                : kind == 2 ? "Entities"
                                : kind == 3 ? "CIDR"
                                : kind == 4 ? "CIDRSet"
                                            : "FQDNs");
    std::string items;
    for (std::size_t n = below(4); n > 0; --n) {
      items += (kind == 1   ? selector(true)
                : kind == 2 ? one_of(kEntities)
                : kind == 3 ? one_of(kCidrs)
                : kind == 4 ? std::string("{cidr: 10.0.0.0/8, except: [") +
                                  (chance(50) ? "10.1.0.0/16" : "10.1.2.0/24, 10.200.0.0/16") + "]}"
                            : one_of(kNames)) +
               std::string(", ");
    }
    (void)deny;
    return field + ": [" + items + "], ";
  }

  std::string ports(bool l7) {
    static constexpr const char* kPlain[] = {"{port: \"80\", protocol: TCP}",
                                             "{port: \"80\"}",
                                             "{port: \"443\", protocol: TCP}",
                                             "{port: \"53\", protocol: UDP}",
                                             "{port: \"0\"}",
                                             "{port: \"0\", protocol: TCP}",
                                             "{port: \"70\", endPort: 90}",
                                             "{port: \"1\", endPort: 65535, protocol: TCP}",
                                             "{port: http, protocol: TCP}",
                                             "{port: \"8080\", endPort: 8081, protocol: TCP}",
                                             "{port: web, endPort: 8082}",
                                             "{port: \"90\", endPort: 70, protocol: SCTP}"};
    static constexpr const char* kL7[] = {
        "{port: \"80\", protocol: TCP}", "{port: \"443\", protocol: TCP}",
        "{port: \"70\", endPort: 90, protocol: TCP}", "{port: http, protocol: TCP}"};
    std::string out;
    for (std::size_t n = 1 + below(2); n > 0; --n) {
      out += std::string(l7 ? one_of(kL7) : one_of(kPlain)) + ", ";
    }
    return "ports: [" + out + "]";
  }

  std::string rule(bool ingress, bool deny) {
    static constexpr const char* kHttp[] = {"{method: GET}",
                                            "{path: \"/a/.*\"}",
                                            "{path: /b}",
                                            "{}",
                                            "{method: \"P.*\", path: \"/[a-c]\"}",
                                            "{method: GET, path: /a}"};
    std::string out = "{" + peers(ingress, deny);
    const std::size_t kind = below(10);
    if (kind < 4) {
      out += "toPorts: [{" + ports(false) + "}";
      if (chance(20)) {
        out += ", {" + ports(false) + "}";
      }
      out += "]";
    } else if (kind < 7) {
      out += "toPorts: [{" + ports(true) + ", rules: {http: [" + one_of(kHttp) + ", " +
             one_of(kHttp) + "]}}]";
    } else if (kind == 7 && !ingress && !deny) {
      out += std::string("toPorts: [{") + ports(true) + ", serverNames: [a.example.com]}]";
    } else if (kind == 8) {
      out += "icmps: [{fields: [{type: 8}, {type: 128, family: IPv6}]}]";
    }
    return out + "}";
  }

  std::string network_policy(int number) {
    static constexpr const char* kPeers[] = {
        "{podSelector: {matchLabels: {app: a}}}", "{namespaceSelector: {}}", "{podSelector: {}}",
        "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}",
        "{namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}"};
    static constexpr const char* kPorts[] = {"{port: 80}", "{port: http}", "{protocol: UDP}",
                                             "{port: 70, endPort: 90}", "{}"};
    std::string out = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p" +
                      std::to_string(number) + ", namespace: n1}\nspec: {podSelector: " +
                      (chance(50) ? "{}" : "{matchLabels: {app: a}}");
    for (const char* section : {"ingress", "egress"}) {
      if (chance(40)) {
        const std::string side = section[0] == 'i' ? "from" : "to";
        out += std::string(", ") + section + ": [{" + side + ": [" +
               (chance(80) ? one_of(kPeers) : "") + "], ports: [" +
               (chance(70) ? one_of(kPorts) : "") + "]}]";
      }
    }
    return out + "}\n";
  }

  std::mt19937 x_random;
};

// --- the cluster that they meet

struct Somebody {
  IdentityId identity = 0; // 0: outside, found by prefix
  ReferencePeer reference;
  std::vector<DnsName> names;
};

struct World {
  CompileInput input;
  std::vector<Somebody> peers;

  World() {
    const char* apps[] = {"a", "b", "c"};
    for (const char* pod_namespace : {"n1", "n2"}) {
      for (const char* app : apps) {
        for (const bool tier : {false, true}) {
          Labels labels = {{"k8s:app", app},
                           {"k8s:" + label::kNamespace, pod_namespace},
                           {"k8s:" + label::kCluster, "default"}};
          if (tier) {
            labels["k8s:tier"] = "x";
          }
          const auto id =
              static_cast<IdentityId>(WEIR_IDENTITY_FIRST_POD + input.identities.size());
          input.identities.push_back({id, labels});
          std::vector<NamedPort> ports;
          if (app[0] != 'c') {
            ports.push_back({"http", static_cast<std::uint16_t>(tier ? 8080 : 80), IPPROTO_TCP});
            ports.push_back({"web", 8081, IPPROTO_UDP});
            ports.push_back({"web", 8081, IPPROTO_TCP});
          }
          for (const NamedPort& port : ports) {
            input.peer_ports.emplace(id, port);
          }
          input.endpoints.push_back(
              {static_cast<EndpointId>(input.endpoints.size() + 1), id, pod_namespace, app, ports});
          peers.push_back({id, {labels, {}, {}, ports}, {}});
        }
      }
    }
    const std::pair<IdentityId, Labels> reserved[] = {
        {WEIR_IDENTITY_HOST, {{"reserved:host", ""}}},
        {WEIR_IDENTITY_HEALTH, {{"reserved:health", ""}}},
        {WEIR_IDENTITY_REMOTE_NODE, {{"reserved:remote-node", ""}}},
        {WEIR_IDENTITY_KUBE_APISERVER,
         {{"reserved:kube-apiserver", ""}, {"reserved:remote-node", ""}}},
        {WEIR_IDENTITY_UNMANAGED, {{"reserved:unmanaged", ""}}}};
    for (const auto& [id, labels] : reserved) {
      peers.push_back({id, {labels, {}, {}, {}}, {}});
    }
    outside("10.1.2.3", {"a.example.com"});
    outside("10.1.9.9", {"b.example.com", "x.y.example.com"});
    outside("10.200.0.1", {});
    outside("192.0.2.7", {"example.org"});
    outside("8.8.8.8", {});
    outside("200.0.0.1", {"a.example.com", "example.org"});
    outside("2001:db8::7", {"a.example.com"});
    outside("2a00::1", {});
  }

private:
  void outside(const char* text, std::vector<std::string> names) {
    Somebody out;
    out.reference.outside = IpAddress::parse(text);
    out.reference.labels = {
        {out.reference.outside->is_v4() ? "reserved:world-ipv4" : "reserved:world-ipv6", ""}};
    for (const std::string& name : names) {
      out.names.push_back(*DnsName::from_text(name));
    }
    out.reference.names = std::move(names);
    peers.push_back(std::move(out));
  }
};

// The kernel's tree holds both families: only the 16-byte form counts.
IdentityId kernel_identity(const Program& program, const IpAddress& address) {
  IdentityId out = address.is_v4() ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
  int best = -1;
  for (const Program::Prefix& prefix : program.prefixes()) {
    const int length = prefix.prefix.mapped_length();
    bool inside = length > best;
    for (int bit = 0; inside && bit < length; ++bit) {
      const unsigned mask = 0x80u >> (bit % 8);
      inside =
          (address.bytes()[bit / 8] & mask) == (prefix.prefix.address().bytes()[bit / 8] & mask);
    }
    if (inside) {
      best = length;
      out = prefix.identity;
    }
  }
  return out;
}

struct Asked {
  std::uint8_t protocol;
  std::uint16_t port;
};
constexpr Asked kFlows[] = {{IPPROTO_TCP, 80},    {IPPROTO_TCP, 443},  {IPPROTO_TCP, 8080},
                            {IPPROTO_TCP, 8081},  {IPPROTO_TCP, 8082}, {IPPROTO_TCP, 75},
                            {IPPROTO_TCP, 91},    {IPPROTO_TCP, 69},   {IPPROTO_TCP, 0},
                            {IPPROTO_TCP, 65535}, {IPPROTO_UDP, 53},   {IPPROTO_UDP, 80},
                            {IPPROTO_UDP, 8082},  {IPPROTO_SCTP, 90},  {IPPROTO_SCTP, 70},
                            {IPPROTO_ICMP, 8},    {IPPROTO_ICMP, 0},   {IPPROTO_ICMPV6, 128}};

} // namespace

TEST_CASE("reference, program and kernel rows agree on random policies", "[policy]") {
  std::size_t flows = 0, requests = 0, redirects = 0, denials = 0;
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    Generator generator(seed);
    World world;
    world.input.options.allow_localhost = generator.chance(50);
    world.input.options.any_cluster = generator.chance(20);
    if (generator.chance(5)) {
      world.input.options.mode = EnforcementMode::kAlways;
    }
    std::string text;
    for (std::size_t n = 1 + generator.below(5); n > 0; --n) {
      text += "---\n" + generator.policy(static_cast<int>(n));
    }
    for (const ParsedDocument& document : parse_policies("random.yaml", text)) {
      for (const Diagnostic& diagnostic : document.diagnostics) {
        UNSCOPED_INFO(diagnostic.text());
      }
      REQUIRE(document.policy != nullptr);
      world.input.policies.push_back(document.policy);
    }
    Prefixes prefixes;
    Bits bits;
    const CompileResult compiled = compile(world.input, prefixes, bits);
    bool conflict = false; // the reference does not know what becomes of those
    for (const Diagnostic& diagnostic : compiled.diagnostics) {
      conflict = conflict || diagnostic.code == "l7-conflict";
    }
    if (conflict) {
      continue;
    }
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
            if (decision.verdict != expected.verdict || kernel != expected.verdict ||
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
                ++requests;
                const bool allowed = judge_http(decision, {method, path, "host", {}}).allowed;
                if (allowed !=
                    reference.http(endpoint, peer.reference, direction, asked.port, method, path)) {
                  FAIL("seed " << seed << " endpoint " << endpoint.id << " peer " << flow.peer
                               << " port " << asked.port << ' ' << method << ' ' << path << ": "
                               << allowed << "\n"
                               << text);
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
  CHECK(redirects > 1'000);
  CHECK(denials > 10'000);
  WARN(flows << " flows, " << redirects << " redirected, " << denials << " denied, " << requests
             << " requests");
}
