#include "test/policy/random_world.h"

#include "policy-compiler/eval/sequential_numbers.h"

#include <netinet/in.h>

#include <stdexcept>

namespace weir::policy::test {

std::string Generator::policy(int number) {
  static constexpr const char* kNamespaces[] = {"n1", "n2"};
  if (chance(15)) {
    return network_policy(number);
  }
  const bool wide = chance(25);
  const bool bound = chance(15);
  std::string out = std::string("apiVersion: cilium.io/v2\nkind: Cilium") +
                    (wide ? "Clusterwide" : "") + "NetworkPolicy\nmetadata: {name: p" +
                    std::to_string(number) +
                    (wide ? "" : std::string(", namespace: ") + one_of(kNamespaces)) +
                    (bound ? ", annotations: {weir.io/bind-fqdn: \"true\"}" : "") +
                    "}\nspec: {endpointSelector: " + selector(false);
  if (bound) {
    return out + ", egress: [" + bound_rule() + (chance(30) ? ", " + bound_rule() : "") + "]}\n";
  }
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

std::string Generator::selector(bool peer) {
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

std::string Generator::peers(bool ingress, bool deny) {
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

std::string Generator::ports(bool l7) {
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

std::string Generator::rule(bool ingress, bool deny) {
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

std::string Generator::bound_rule() {
  static constexpr const char* kNames[] = {
      "{matchName: a.example.com}", "{matchName: b.example.com}",
      "{matchPattern: \"*.example.com\"}", "{matchName: example.org}"};
  static constexpr const char* kPorts[] = {
      "{ports: [{port: \"80\", protocol: TCP}]}",
      "{ports: [{port: \"80\", protocol: TCP}, {port: \"443\", protocol: TCP}]}",
      "{ports: [{port: \"70\", endPort: 90, protocol: TCP}], rules: {http: [{path: \"/a.*\"}]}}",
      "{ports: [{port: \"443\", protocol: TCP}], serverNames: [a.example.com]}"};
  return std::string("{toFQDNs: [") + one_of(kNames) + ", " + (chance(40) ? one_of(kNames) : "") +
         "], toPorts: [" + one_of(kPorts) + "]}";
}

std::string Generator::network_policy(int number) {
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

World::World() {
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
        const auto id = static_cast<IdentityId>(WEIR_IDENTITY_FIRST_POD + input.identities.size());
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

void World::outside(const char* text, std::vector<std::string> names) {
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

const std::vector<Asked> kFlows = {
    {IPPROTO_TCP, 80},   {IPPROTO_TCP, 443},   {IPPROTO_TCP, 8080}, {IPPROTO_TCP, 8081},
    {IPPROTO_TCP, 8082}, {IPPROTO_TCP, 75},    {IPPROTO_TCP, 91},   {IPPROTO_TCP, 69},
    {IPPROTO_TCP, 0},    {IPPROTO_TCP, 65535}, {IPPROTO_UDP, 53},   {IPPROTO_UDP, 80},
    {IPPROTO_UDP, 8082}, {IPPROTO_SCTP, 90},   {IPPROTO_SCTP, 70},  {IPPROTO_ICMP, 8},
    {IPPROTO_ICMP, 0},   {IPPROTO_ICMPV6, 128}};

std::optional<RandomProgram> random_program(std::uint32_t seed) {
  Generator generator(seed);
  RandomProgram out;
  CompileInput& input = out.world.input;
  input.options.allow_localhost = generator.chance(50);
  input.options.any_cluster = generator.chance(20);
  if (generator.chance(5)) {
    input.options.mode = EnforcementMode::kAlways;
  }
  for (std::size_t n = 1 + generator.below(5); n > 0; --n) {
    out.text += "---\n" + generator.policy(static_cast<int>(n));
  }
  for (const ParsedDocument& document : parse_policies("random.yaml", out.text)) {
    if (document.policy == nullptr) {
      throw std::runtime_error(document.diagnostics.front().text() + "\n" + out.text);
    }
    input.policies.push_back(document.policy);
  }
  SequentialPrefixes prefixes;
  Bits bits;
  out.compiled = compile(input, prefixes, bits);
  for (const Diagnostic& diagnostic : out.compiled.diagnostics) {
    if (diagnostic.code == "l7-conflict") {
      return std::nullopt;
    }
  }
  return out;
}

} // namespace weir::policy::test
