#include "policy-compiler/eval/policy_case.h"

#include "policy-compiler/compile.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/model/protocol.h"
#include "policy-compiler/runtime/compiled.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>

namespace weir::policy {
namespace {

namespace json = boost::json;

constexpr EndpointId kFirstReservedEndpoint = 1'000'000;
const json::array kNoItems;

// What stands under a key, or nothing; cases leave out what is empty.
const json::value* find(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  return object != nullptr ? object->if_contains(key) : nullptr;
}
std::string text_at(const json::value& value, std::string_view key,
                    std::string_view otherwise = {}) {
  const json::value* found = find(value, key);
  const json::string* text = found != nullptr ? found->if_string() : nullptr;
  return std::string(text != nullptr ? std::string_view(*text) : otherwise);
}
bool flag_at(const json::value& value, std::string_view key, bool otherwise) {
  const json::value* found = find(value, key);
  const bool* flag = found != nullptr ? found->if_bool() : nullptr;
  return flag != nullptr ? *flag : otherwise;
}
const json::array& list_at(const json::value& value, std::string_view key) {
  const json::value* found = find(value, key);
  const json::array* list = found != nullptr ? found->if_array() : nullptr;
  return list != nullptr ? *list : kNoItems;
}
std::map<std::string, std::string> texts_at(const json::value& value, std::string_view key) {
  std::map<std::string, std::string> out;
  const json::value* found = find(value, key);
  const json::object* object = found != nullptr ? found->if_object() : nullptr;
  if (object != nullptr) {
    for (const auto& member : *object) {
      if (const json::string* text = member.value().if_string()) {
        out[std::string(member.key())] = std::string(*text);
      }
    }
  }
  return out;
}
std::optional<std::uint16_t> number_at(const json::value& value, std::string_view key) {
  const json::value* found = find(value, key);
  boost::system::error_code failed;
  const auto number = found != nullptr && found->is_number()
                          ? found->to_number<std::uint16_t>(failed)
                          : std::uint16_t{};
  return found == nullptr || !found->is_number() || failed ? std::nullopt : std::optional(number);
}
std::string text_of(const json::value& value) {
  const json::string* text = value.if_string();
  return text != nullptr ? std::string(*text) : std::string();
}

// TCP where nothing is said.
std::optional<std::uint8_t> protocol_number(std::string_view name) {
  return name.empty() ? IPPROTO_TCP : protocol_of(name);
}

// Somebody that a flow can come from or go to.
struct Party {
  IdentityId identity = 0;
  EndpointId endpoint = 0; // 0: no policy is computed for it
  bool outside = false;
  IpAddress address;          // outside only
  std::vector<DnsName> names; // that resolved to it
};

struct ReservedParty {
  const char* name;
  IdentityId identity;
  bool has_policy;
};
constexpr ReservedParty kReserved[] = {{"host", WEIR_IDENTITY_HOST, false},
                                       {"remote-node", WEIR_IDENTITY_REMOTE_NODE, false},
                                       {"kube-apiserver", WEIR_IDENTITY_KUBE_APISERVER, false},
                                       {"health", WEIR_IDENTITY_HEALTH, true},
                                       {"init", WEIR_IDENTITY_INIT, true},
                                       {"ingress", WEIR_IDENTITY_INGRESS, true},
                                       {"unmanaged", WEIR_IDENTITY_UNMANAGED, false},
                                       {"world", WEIR_IDENTITY_WORLD, false},
                                       {"world-ipv4", WEIR_IDENTITY_WORLD_IPV4, false},
                                       {"world-ipv6", WEIR_IDENTITY_WORLD_IPV6, false}};

// The case's cluster as compile() wants it.
class Cluster {
public:
  explicit Cluster(const json::value& policy_case) {
    read_options(policy_case);
    read_endpoints(policy_case);
    read_outside(policy_case);
    read_services(policy_case);
    for (const ReservedParty& reserved : kReserved) {
      Party party;
      party.identity = reserved.identity;
      if (reserved.has_policy) {
        party.endpoint = kFirstReservedEndpoint + reserved.identity;
        input.endpoints.push_back({party.endpoint, party.identity, "reserved", reserved.name, {}});
      }
      parties[std::string("reserved:") + reserved.name] = party;
    }
  }

  CompileInput input;
  std::map<std::string, Party> parties;

private:
  void read_options(const json::value& policy_case) {
    const json::value* config = find(policy_case, "config");
    const json::value empty;
    const json::value& options = config != nullptr ? *config : empty;
    input.options.allow_localhost = flag_at(options, "allowLocalhost", false);
    input.options.any_cluster = flag_at(options, "anyCluster", false);
    input.options.cluster_name = text_at(options, "clusterName", "default");
    input.options.ipv4 = flag_at(options, "ipv4", true);
    input.options.ipv6 = flag_at(options, "ipv6", true);
    const std::string mode = text_at(options, "policyEnforcement", "default");
    input.options.mode = mode == "always"  ? EnforcementMode::kAlways
                         : mode == "never" ? EnforcementMode::kNever
                                           : EnforcementMode::kDefault;
  }

  void read_endpoints(const json::value& policy_case) {
    const json::value* namespaces = find(policy_case, "namespaces");
    std::map<Labels, IdentityId> identities;
    for (const json::value& item : list_at(policy_case, "endpoints")) {
      const std::string name = text_at(item, "name");
      const std::string its_namespace = text_at(item, "namespace");
      const std::string cluster = text_at(item, "cluster", input.options.cluster_name);
      Labels labels;
      for (const auto& [key, value] : texts_at(item, "labels")) {
        labels["k8s:" + key] = value;
      }
      labels["k8s:" + label::kNamespace] = its_namespace;
      labels["k8s:" + label::kCluster] = cluster;
      labels["k8s:" + label::kServiceAccount] = text_at(item, "serviceAccount", "default");
      if (const json::value* one =
              namespaces != nullptr ? find(*namespaces, its_namespace) : nullptr) {
        for (const auto& [key, value] : texts_at(*one, "labels")) {
          labels["k8s:" + label::kNamespaceLabelPrefix + key] = value;
        }
      }
      const auto [found, is_new] = identities.try_emplace(
          labels, static_cast<IdentityId>(WEIR_IDENTITY_FIRST_POD + identities.size()));
      if (is_new) {
        input.identities.push_back({found->second, labels});
      }
      Party party;
      party.identity = found->second;
      std::vector<NamedPort> ports;
      for (const json::value& port : list_at(item, "namedPorts")) {
        const auto number = number_at(port, "port");
        const auto protocol = protocol_number(text_at(port, "protocol"));
        if (number && protocol) {
          ports.push_back({text_at(port, "name"), *number, *protocol});
          input.peer_ports.emplace(party.identity, ports.back());
        }
      }
      if (cluster == input.options.cluster_name) {
        party.endpoint = static_cast<EndpointId>(input.endpoints.size() + 1);
        input.endpoints.push_back(
            {party.endpoint, party.identity, its_namespace, name, std::move(ports)});
      }
      parties[name] = party;
    }
  }

  void read_outside(const json::value& policy_case) {
    for (const json::value& item : list_at(policy_case, "externals")) {
      Party party;
      party.outside = true;
      party.address = IpAddress::parse(text_at(item, "ip")).value_or(IpAddress());
      for (const json::value& name : list_at(item, "dnsNames")) {
        if (auto parsed = DnsName::from_text(text_of(name))) {
          party.names.push_back(std::move(*parsed));
        }
      }
      Labels labels;
      for (const json::value& reserved : list_at(item, "reserved")) {
        labels["reserved:" + text_of(reserved)] = "";
      }
      if (!labels.empty()) {
        input.outside.push_back({IpPrefix::host(party.address), std::move(labels)});
      }
      parties[text_at(item, "name")] = std::move(party);
    }
    for (const json::value& item : list_at(policy_case, "nodes")) {
      Party party;
      party.identity = WEIR_IDENTITY_REMOTE_NODE;
      parties[text_at(item, "name")] = party;
    }
    for (const json::value& item : list_at(policy_case, "cidrGroups")) {
      auto group = std::make_shared<Policy>();
      group->kind = "CiliumCIDRGroup";
      group->name = text_at(item, "name");
      group->cidr_group.emplace().labels = texts_at(item, "labels");
      for (const json::value& cidr : list_at(item, "cidrs")) {
        if (const auto prefix = IpPrefix::parse(text_of(cidr))) {
          group->cidr_group->prefixes.push_back(*prefix);
        }
      }
      input.policies.push_back(std::move(group));
    }
  }

  void read_services(const json::value& policy_case) {
    for (const json::value& item : list_at(policy_case, "services")) {
      ServiceInput service;
      service.name = text_at(item, "name");
      service.service_namespace = text_at(item, "namespace");
      service.labels = texts_at(item, "labels");
      service.selector = texts_at(item, "selector");
      for (const json::value& backend : list_at(item, "backends")) {
        if (const auto address = IpAddress::parse(text_of(backend))) {
          service.backends.push_back(*address);
        }
      }
      input.services.push_back(std::move(service));
    }
  }
};

json::object answer_of(const ParsedDocument& document) {
  json::object out;
  out["kind"] = document.kind;
  if (!document.document_namespace.empty()) {
    out["namespace"] = document.document_namespace;
  }
  out["name"] = document.name;
  out["valid"] = document.policy != nullptr;
  for (const Diagnostic& diagnostic : document.diagnostics) {
    if (diagnostic.severity == Severity::kError) {
      out["error"] = diagnostic.text();
      break;
    }
  }
  return out;
}

// A probe's verdict on one side; both sides together allow what each allows.
enum class Probe { kAllow, kUnknown, kDeny };

Probe both(Probe a, Probe b) { return std::max(a, b); }
const char* text_of(Probe probe) {
  return probe == Probe::kAllow ? "allow" : probe == Probe::kDeny ? "deny" : "unknown";
}
Probe judged(const L7Decision& decision) { return decision.allowed ? Probe::kAllow : Probe::kDeny; }

struct Side {
  bool enforced = false;
  FlowDecision decision;
  // serverNames rules beside the HTTP rules that took the flow: a request whose server name they
  // accept passes by them. On the wire weir sees no server name on such a flow; a case may name
  // one.
  std::vector<const L7Rules*> beside_http;
  const EndpointPolicy* policy = nullptr; // of egress to an outside party, with that party's names
  std::vector<DnsName> names;

  // FQDN groups of a request's or ClientHello's name, where the party's address is learned for it.
  [[nodiscard]] std::uint64_t name_groups(std::string_view text) const {
    const auto name = host_name(text);
    return name && std::find(names.begin(), names.end(), *name) != names.end()
               ? policy->fqdn_groups(*name)
               : 0;
  }
};

std::vector<const L7Rules*> tls_rules_of(const EndpointPolicy& policy, const Flow& flow) {
  std::vector<const L7Rules*> out;
  const auto& compiled = dynamic_cast<const CompiledEndpoint&>(policy);
  for (const Filter& filter :
       compiled.lowered().filters[static_cast<std::size_t>(flow.direction)]) {
    if (filter.covers_port(flow) && filter.covers_peer(flow, compiled.identities()) &&
        filter.effect == Filter::Effect::kAllowL7 && filter.l7->protocol == L7Protocol::kTls) {
      out.push_back(filter.l7.get());
    }
  }
  return out;
}

Probe probe_http(const Side& side, const json::value& probe) {
  const FlowDecision& flow = side.decision;
  if (flow.verdict != Verdict::kRedirect) {
    return flow.verdict == Verdict::kAllow ? Probe::kAllow : Probe::kDeny;
  }
  if (flow.protocol == L7Protocol::kDns) {
    return Probe::kUnknown;
  }
  if (flow.protocol == L7Protocol::kTls) { // the request is inside: only its server name is seen
    const std::string name = text_at(probe, "sni");
    return judged(judge_sni(flow,
                            name.empty() ? std::nullopt : std::optional<std::string_view>(name),
                            side.name_groups(name)));
  }
  const std::string method = text_at(probe, "method");
  const std::string path = text_at(probe, "path");
  const std::string host = text_at(probe, "host");
  std::vector<std::pair<std::string, std::string>> texts;
  for (const json::value& header : list_at(probe, "headers")) {
    if (const json::array* pair = header.if_array(); pair != nullptr && pair->size() == 2) {
      texts.emplace_back(text_of((*pair)[0]), text_of((*pair)[1]));
    }
  }
  std::vector<HttpHeader> headers;
  headers.reserve(texts.size());
  for (const auto& [name, value] : texts) {
    headers.push_back({name, value});
  }
  const std::string name = text_at(probe, "sni");
  if (flow.denials.empty() &&
      std::any_of(side.beside_http.begin(), side.beside_http.end(), [&](const L7Rules* rules) {
        return rules->holds_name(side.name_groups(name)) && rules->names_server(name);
      })) {
    return Probe::kAllow;
  }
  return judged(judge_http(flow, {method, path, host, headers}, side.name_groups(host)));
}

Probe probe_dns(const Side& side, const std::string& text) {
  const FlowDecision& flow = side.decision;
  if (flow.verdict != Verdict::kRedirect) {
    return flow.verdict == Verdict::kAllow ? Probe::kAllow : Probe::kDeny;
  }
  if (flow.protocol != L7Protocol::kDns) {
    return Probe::kUnknown;
  }
  const auto name = DnsName::from_text(text);
  return name ? judged(judge_dns(flow, *name)) : Probe::kDeny;
}

Probe probe_sni(const Side& side, const std::string& name) {
  const FlowDecision& flow = side.decision;
  if (flow.verdict != Verdict::kRedirect) {
    return flow.verdict == Verdict::kAllow ? Probe::kAllow : Probe::kDeny;
  }
  if (flow.protocol == L7Protocol::kDns) {
    return Probe::kUnknown;
  }
  if (flow.protocol == L7Protocol::kHttp) { // HTTP rules ask for no server name
    return flow.any || !flow.alternatives.empty() ? Probe::kAllow : Probe::kDeny;
  }
  return judged(judge_sni(flow, name.empty() ? std::nullopt : std::optional<std::string_view>(name),
                          side.name_groups(name)));
}

class Evaluation {
public:
  Evaluation(const Cluster& cluster, const Program& program)
      : x_cluster(cluster), x_program(program) {}

  [[nodiscard]] json::object answer(const json::value& flow) const {
    const auto from = x_cluster.parties.find(text_at(flow, "from"));
    const auto to = x_cluster.parties.find(text_at(flow, "to"));
    const auto protocol = protocol_number(text_at(flow, "proto"));
    const auto port = number_at(flow, "dport");
    if (from == x_cluster.parties.end() || to == x_cluster.parties.end() || !protocol || !port) {
      // Its own failure: the other flows are still answered.
      return {{"verdict", "error"}, {"error", "unknown `from`, `to`, `proto` or `dport`"}};
    }
    Flow asked;
    asked.protocol = *protocol;
    asked.port = *port;

    asked.direction = Direction::kEgress;
    const Side egress = decide(from->second, to->second, asked);
    asked.direction = Direction::kIngress;
    const Side ingress = decide(to->second, from->second, asked);

    json::object out;
    const bool denied =
        egress.decision.verdict == Verdict::kDeny || ingress.decision.verdict == Verdict::kDeny;
    out["verdict"] = denied ? "deny" : "allow";
    out["egress"] = side(egress);
    out["ingress"] = side(ingress);
    add_probes(flow, "http", egress, ingress, out,
               [](const Side& side, const json::value& probe) { return probe_http(side, probe); });
    add_probes(flow, "dns", egress, ingress, out, [](const Side& side, const json::value& probe) {
      return probe_dns(side, text_of(probe));
    });
    add_probes(flow, "sni", egress, ingress, out, [](const Side& side, const json::value& probe) {
      return probe_sni(side, text_of(probe));
    });
    return out;
  }

private:
  [[nodiscard]] Side decide(const Party& subject, const Party& peer, Flow flow) const {
    Side out;
    const EndpointPolicy* policy =
        subject.endpoint != 0 ? x_program.find(subject.endpoint) : nullptr;
    if (policy == nullptr) {
      out.decision.verdict = Verdict::kAllow;
      return out;
    }
    flow.peer = identity_of(peer);
    if (flow.direction == Direction::kEgress && peer.outside) {
      for (const DnsName& name : peer.names) {
        flow.fqdn_groups |= policy->fqdn_groups(name);
      }
      out.policy = policy;
      out.names = peer.names;
    }
    out.enforced = policy->enforced(flow.direction);
    out.decision = policy->decide(flow);
    if (out.decision.protocol == L7Protocol::kHttp) {
      out.beside_http = tls_rules_of(*policy, flow);
    }
    return out;
  }

  // As the kernel looks it up: the longest prefix, else the world of the address's family.
  [[nodiscard]] IdentityId identity_of(const Party& peer) const {
    if (!peer.outside) {
      return peer.identity;
    }
    IdentityId out = peer.address.is_v4() ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
    int longest = -1;
    for (const Program::Prefix& prefix : x_program.prefixes()) {
      if (prefix.prefix.length() > longest && prefix.prefix.contains(peer.address)) {
        out = prefix.identity;
        longest = prefix.prefix.length();
      }
    }
    return out;
  }

  [[nodiscard]] static json::object side(const Side& side) {
    json::object out;
    out["enforced"] = side.enforced;
    out["verdict"] = side.decision.verdict == Verdict::kDeny ? "deny" : "allow";
    if (side.decision.verdict == Verdict::kRedirect) {
      out["redirect"] = side.decision.protocol == L7Protocol::kHttp  ? "http"
                        : side.decision.protocol == L7Protocol::kDns ? "dns"
                                                                     : "tls";
    }
    return out;
  }

  template <typename Judge>
  static void add_probes(const json::value& flow, std::string_view kind, const Side& egress,
                         const Side& ingress, json::object& out, Judge&& judge) {
    const json::array& probes = list_at(flow, kind);
    if (probes.empty()) {
      return;
    }
    json::array verdicts;
    for (const json::value& probe : probes) {
      verdicts.emplace_back(text_of(both(judge(egress, probe), judge(ingress, probe))));
    }
    out[kind] = std::move(verdicts);
  }

  const Cluster& x_cluster;
  const Program& x_program;
};

std::string shown(const json::value* value) {
  return value == nullptr ? "nothing" : json::serialize(*value);
}

// `redirect` is left out where it is empty.
bool same_field(const json::value* expected, const json::value* answer) {
  const auto text = [](const json::value* value) {
    return value == nullptr ? json::value("") : *value;
  };
  return text(expected) == text(answer);
}

void compare_probes(const json::value& expected, const json::value& answer, std::string_view kind,
                    const std::string& what, std::vector<std::string>& out) {
  const json::array& wanted = list_at(expected, kind);
  const json::array& given = list_at(answer, kind);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "unknown") {
      continue;
    }
    if (i >= given.size() || given[i] != wanted[i]) {
      out.push_back(what + ": " + std::string(kind) + " probe " + std::to_string(i) + " " +
                    (i < given.size() ? text_of(given[i]) : "nothing") + ", expected " +
                    text_of(wanted[i]));
    }
  }
}

} // namespace

Result<json::object> answer_case(const json::value& policy_case) {
  if (!policy_case.is_object()) {
    return invalid_error("a case is an object");
  }
  Cluster cluster(policy_case);
  json::array policies;
  std::size_t number = 0;
  for (const json::value& text : list_at(policy_case, "policies")) {
    const std::string file = "policy-" + std::to_string(number++) + ".yaml";
    for (const ParsedDocument& document : parse_policies(file, text_of(text))) {
      policies.emplace_back(answer_of(document));
      if (document.policy != nullptr) {
        cluster.input.policies.push_back(document.policy);
      }
    }
  }
  SequentialPrefixes prefixes;
  SequentialBits bits;
  const CompileResult compiled = compile(cluster.input, prefixes, bits);
  const Evaluation evaluation(cluster, *compiled.program);
  json::array flows;
  for (const json::value& flow : list_at(policy_case, "flows")) {
    flows.emplace_back(evaluation.answer(flow));
  }
  return json::object{{"policies", std::move(policies)}, {"flows", std::move(flows)}};
}

std::vector<std::string> compare_answers(const json::value& policy_case,
                                         const json::object& answers) {
  std::vector<std::string> out;
  const json::value* expected = find(policy_case, "expected");
  if (expected == nullptr) {
    return {"the case has no `expected`"};
  }
  const json::value given(answers);
  const json::array& policies = list_at(*expected, "policies");
  const json::array& given_policies = list_at(given, "policies");
  if (policies.size() != given_policies.size()) {
    out.push_back(std::to_string(given_policies.size()) + " documents, expected " +
                  std::to_string(policies.size()));
  }
  for (std::size_t i = 0; i < std::min(policies.size(), given_policies.size()); ++i) {
    const bool wanted = flag_at(policies[i], "valid", false);
    const bool valid = flag_at(given_policies[i], "valid", false);
    // The reference drops fields that it does not know; here they are errors, or an extension.
    const bool dropped = !text_at(policies[i], "strict").empty() ||
                         (wanted && text_at(policies[i], "error").starts_with("unknown field"));
    if (wanted != valid && !dropped) {
      out.push_back(
          "policy " + text_at(policies[i], "name") + (valid ? " accepted" : " refused") +
          ", expected the contrary: " + text_at(valid ? policies[i] : given_policies[i], "error"));
    }
  }
  const json::array& flows = list_at(*expected, "flows");
  const json::array& given_flows = list_at(given, "flows");
  const json::array& asked = list_at(policy_case, "flows");
  for (std::size_t i = 0; i < flows.size(); ++i) {
    const json::value nothing;
    const json::value& answer = i < given_flows.size() ? given_flows[i] : nothing;
    const json::value& flow = i < asked.size() ? asked[i] : nothing;
    const std::string what = "flow " + std::to_string(i) + " (" + text_at(flow, "from") + " → " +
                             text_at(flow, "to") + ' ' + text_at(flow, "proto") + '/' +
                             shown(find(flow, "dport")) + ")";
    if (text_at(flows[i], "verdict") != text_at(answer, "verdict")) {
      out.push_back(what + ": verdict " + text_at(answer, "verdict") + ", expected " +
                    text_at(flows[i], "verdict"));
    }
    for (const std::string_view direction : {"egress", "ingress"}) {
      const json::value* wanted = find(flows[i], direction);
      const json::value* side = find(answer, direction);
      for (const std::string_view field : {"enforced", "verdict", "redirect"}) {
        const json::value* a = wanted != nullptr ? find(*wanted, field) : nullptr;
        const json::value* b = side != nullptr ? find(*side, field) : nullptr;
        if (!same_field(a, b)) {
          out.push_back(what + ": " + std::string(direction) + ' ' + std::string(field) + ' ' +
                        shown(b) + ", expected " + shown(a));
        }
      }
    }
    for (const std::string_view kind : {"http", "dns", "sni"}) {
      compare_probes(flows[i], answer, kind, what, out);
    }
  }
  return out;
}

} // namespace weir::policy
