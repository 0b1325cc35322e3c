#include "proxy/admin/probes.h"

#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/runtime/near_request.h"
#include "proxy/http/normalize.h"

#include <boost/json.hpp>
#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::admin {
namespace {

namespace json = boost::json;
using endpoint::Endpoint;
using policy::Direction;
using policy::L7Kind;
using policy::RuleRef;

constexpr std::size_t kMaxPeers = 64; // that are tried for one rule
constexpr std::string_view kNowhere = "weir-connectivity-test";

// One end of a flow.
struct End {
  const Endpoint* pod = nullptr; // null: an outside address
  IpAddress address;
  policy::IdentityId identity = 0;

  [[nodiscard]] std::string name() const { return pod ? pod->full_name() : address.to_string(); }
};

struct Probe {
  L7Kind kind = L7Kind::kNone;
  End from, to;
  std::uint16_t port = 0;
  std::uint8_t protocol = IPPROTO_TCP;
  std::string method, path, host, name;
  std::vector<std::pair<std::string, std::string>> headers;
};

// What policy makes of a probe.
struct Outcome {
  bool allowed = true;
  bool judged = false;          // by the proxy: a connection is made in any case
  bool clear = true;            // the kind is the one that the flow is judged by
  const RuleRef* rules[2] = {}; // by direction; null: not enforced
};

// Something that the expression matches, where it is a simple one: wildcards stand for little, of
// alternatives the first. The caller asks the rule whether it is one.
std::string sample(const std::string& expression) {
  static constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {".*", ""},    {".+", "x"},     {"[^/]*", ""},   {"[^/]+", "x"}, {"[0-9]+", "1"},
      {"\\d+", "1"}, {"[a-z]+", "a"}, {"[A-Z]+", "A"}, {"\\w+", "a"},  {"(?i)", ""}};
  std::string out;
  for (std::size_t at = 0; at < expression.size();) {
    const std::string_view rest = std::string_view(expression).substr(at);
    const auto* part = std::find_if(std::begin(kParts), std::end(kParts),
                                    [&](const auto& one) { return rest.starts_with(one.first); });
    if (part != std::end(kParts)) {
      out += part->second;
      at += part->first.size();
    } else if (rest.front() == '(') { // up to the first alternative's end
      const auto close = rest.find(')');
      std::string_view group = rest.substr(1, close == std::string_view::npos ? 0 : close - 1);
      if (group.starts_with("?:")) {
        group.remove_prefix(2);
      }
      const std::string_view first = group.substr(0, group.find('|'));
      out += sample(std::string(first));
      at += close == std::string_view::npos ? 1 : close + 1;
      at += at < expression.size() && (expression[at] == '?' || expression[at] == '*') ? 1 : 0;
    } else if (rest.front() == '\\' && rest.size() > 1) {
      out += rest[1];
      at += 2;
    } else {
      if (rest.front() != '^' && rest.front() != '$' && rest.front() != '?') {
        out += rest.front() == '.' ? '.' : rest.front();
      }
      ++at;
    }
  }
  return out;
}

std::string sample_name(const policy::NamePattern& pattern) {
  if (!pattern.match_name.empty()) {
    return pattern.match_name;
  }
  std::string out = pattern.match_pattern.empty() ? "*" : pattern.match_pattern;
  if (out == "*") {
    return std::string(kNowhere) + ".invalid";
  }
  for (std::size_t star = out.find('*'); star != std::string::npos; star = out.find('*')) {
    std::size_t end = star;
    while (end < out.size() && out[end] == '*') {
      ++end;
    }
    out.replace(star, end - star, kNowhere);
  }
  return out;
}

class Planner {
public:
  explicit Planner(const TraceWorld& world) : x_world(world) {
    std::map<std::string, const Endpoint*> ordered;
    world.registry.endpoints().for_each([&](const std::string& name, const auto& pod) {
      if (!pod->addresses.empty()) {
        ordered.emplace(name, pod.get());
      }
    });
    for (const bool own : {true, false}) {
      for (const auto& [name, pod] : ordered) {
        if (is_own(*pod) == own) {
          (own ? x_own : x_others).push_back(pod);
        }
      }
    }
  }

  json::array plan() {
    for (const Endpoint* pod : x_own) {
      for (const RuleRef* rule : rules_of(*pod)) {
        if (x_probes.size() >= kMaxProbes) {
          x_probes.push_back({{"rule", policy::rule_text(*rule)},
                              {"from", pod->full_name()},
                              {"skipped", "there are more rules than one test has probes for"}});
          return std::move(x_probes);
        }
        plan_rule(*pod, *rule);
      }
    }
    return std::move(x_probes);
  }

private:
  // Its packets are seen here, and its network namespace is on this node.
  static bool is_own(const Endpoint& pod) { return pod.id != 0 && !pod.interface.empty(); }

  // That were written by somebody and speak of the pod; each once, in their order.
  std::vector<const RuleRef*> rules_of(const Endpoint& pod) const {
    std::vector<const RuleRef*> rules;
    const auto* compiled =
        dynamic_cast<const policy::CompiledEndpoint*>(x_world.program.find(pod.id));
    for (const auto direction : {Direction::kIngress, Direction::kEgress}) {
      if (compiled == nullptr) {
        break;
      }
      for (const auto& filter : compiled->lowered().filters[static_cast<std::size_t>(direction)]) {
        if (filter.rule->source != nullptr &&
            std::find(rules.begin(), rules.end(), filter.rule) == rules.end()) {
          rules.push_back(filter.rule);
        }
      }
    }
    return rules;
  }

  [[nodiscard]] Outcome ask(const Probe& probe) const {
    Outcome out;
    for (const auto direction : {Direction::kIngress, Direction::kEgress}) {
      const bool egress = direction == Direction::kEgress;
      const End& own = egress ? probe.from : probe.to;
      const policy::EndpointPolicy* policy =
          own.pod == nullptr ? nullptr : x_world.program.find(own.pod->id);
      if (policy == nullptr || !policy->enforced(direction)) {
        continue;
      }
      policy::Flow flow;
      flow.direction = direction;
      flow.peer = (egress ? probe.to : probe.from).identity;
      flow.protocol = probe.protocol;
      flow.port = probe.port;
      const policy::FlowDecision decision = policy->decide(flow);
      out.rules[static_cast<std::size_t>(direction)] = decision.rule;
      if (decision.verdict == policy::Verdict::kDeny) {
        out.allowed = false;
      } else if (decision.verdict == policy::Verdict::kRedirect) {
        out.judged = true;
        judge(probe, decision, out, direction);
      }
    }
    return out;
  }

  static void judge(const Probe& probe, const policy::FlowDecision& decision, Outcome& out,
                    Direction direction) {
    policy::L7Decision judged;
    switch (decision.protocol) {
    case policy::L7Protocol::kHttp: {
      std::vector<policy::HttpHeader> headers;
      for (const auto& [name, value] : probe.headers) {
        headers.push_back({name, value});
      }
      judged = policy::judge_http(decision, {probe.method, probe.path, probe.host, headers});
      out.clear = out.clear && probe.kind == L7Kind::kHttp;
      break;
    }
    case policy::L7Protocol::kDns: {
      const auto name = DnsName::from_text(probe.name);
      out.clear = out.clear && probe.kind == L7Kind::kDns && name.has_value();
      if (name) {
        judged = policy::judge_dns(decision, *name);
      }
      break;
    }
    case policy::L7Protocol::kTls:
      out.clear = out.clear && probe.kind == L7Kind::kTls;
      judged = policy::judge_sni(decision, probe.name);
      break;
    case policy::L7Protocol::kNone:
      out.clear = false;
      return;
    }
    out.allowed = out.allowed && judged.allowed;
    if (judged.rule != nullptr) {
      out.rules[static_cast<std::size_t>(direction)] = judged.rule;
    }
  }

  // Does the outcome show as one? A connection shows a verdict only where nobody judges what is
  // said on it, and a request only where somebody does, or all of it is let through.
  static bool shows(const Probe& probe, const Outcome& outcome) {
    return outcome.clear && outcome.judged == (probe.kind != L7Kind::kNone);
  }

  End end_of(const Endpoint& pod, bool v4) const {
    const auto found = std::find_if(pod.addresses.begin(), pod.addresses.end(),
                                    [&](const auto& address) { return address.is_v4() == v4; });
    return {&pod, found == pod.addresses.end() ? pod.addresses.front() : *found, pod.identity};
  }

  // Who may stand at the other end of `pod`. Only pods of this node can be made to send.
  [[nodiscard]] std::vector<End> peers(const Endpoint& pod, const policy::Rule& rule) const {
    std::vector<End> out;
    const bool v4 = pod.addresses.front().is_v4();
    const bool egress = rule.direction == WEIR_EGRESS;
    for (const auto* some : {&x_own, &x_others}) {
      for (const Endpoint* peer : *some) {
        if (peer != &pod && (egress || some == &x_own) && out.size() < kMaxPeers &&
            peer->addresses.front().is_v4() == v4) {
          out.push_back(end_of(*peer, v4));
        }
      }
    }
    if (egress) {
      for (const auto& cidr : rule.peers.cidrs) {
        if (cidr.prefix == IpPrefix::host(cidr.prefix.address()) && cidr.prefix.is_v4() == v4 &&
            x_world.registry.by_address(cidr.prefix.address()) == nullptr) {
          out.push_back({nullptr, cidr.prefix.address(),
                         x_world.registry.identity_of(cidr.prefix.address())});
        }
      }
    }
    return out;
  }

  static std::vector<std::uint16_t> ports_of(const policy::PortRule* ports, const End& server,
                                             std::uint8_t protocol) {
    std::vector<std::uint16_t> out;
    if (ports == nullptr) {
      if (server.pod != nullptr) {
        for (const auto& port : server.pod->named_ports) {
          if (port.protocol == protocol) {
            out.push_back(port.port);
          }
        }
      }
      out.push_back(80);
      return out;
    }
    for (const auto& match : ports->ports) {
      if (match.protocol != 0 && match.protocol != protocol) {
        continue;
      }
      if (match.name.empty()) {
        out.push_back(match.first == 0 ? 80 : match.first);
      } else if (server.pod != nullptr) {
        for (const auto& port : server.pod->named_ports) {
          if (port.name == match.name && port.protocol == protocol) {
            out.push_back(port.port);
          }
        }
      }
    }
    return out;
  }

  static std::vector<Probe> samples(const policy::PortRule* ports, const End& server) {
    const L7Kind kind = ports == nullptr ? L7Kind::kNone : ports->l7;
    std::vector<Probe> out;
    Probe probe;
    probe.kind = kind;
    switch (kind) {
    case L7Kind::kNone:
      out.push_back(probe);
      break;
    case L7Kind::kHttp:
      for (const auto& rule : ports->http) {
        probe.host = rule.host.empty() ? server.address.to_string() : sample(rule.host);
        if (rule.host.empty() && !server.address.is_v4()) {
          probe.host = "[" + probe.host + "]";
        }
        const std::string path = rule.path.empty() ? "/" : sample(rule.path);
        if (http::canonical_path(path.empty() ? "/" : path, probe.path)) {
          continue;
        }
        probe.headers.clear();
        for (const auto& header : rule.headers) {
          if (!header.secret) {
            probe.headers.emplace_back(header.name, header.value.value_or("1"));
          }
        }
        for (const char* method : {"GET", "HEAD"}) {
          probe.method = method;
          out.push_back(probe);
        }
      }
      break;
    case L7Kind::kDns:
      probe.protocol = IPPROTO_UDP;
      for (const auto& pattern : ports->dns) {
        probe.name = sample_name(pattern);
        out.push_back(probe);
      }
      break;
    case L7Kind::kTls:
      for (const auto& name : ports->server_names) {
        probe.name = sample_name({"", name});
        out.push_back(probe);
      }
      break;
    }
    return out;
  }

  // What is nearly the same, the nearest first.
  static std::vector<Probe> neighbours(const Probe& probe) {
    std::vector<Probe> out;
    const auto add = [&](auto&& change) {
      Probe other = probe;
      change(other);
      out.push_back(std::move(other));
    };
    switch (probe.kind) {
    case L7Kind::kNone:
      for (const unsigned port : {probe.port + 1u, 9u, 65000u}) {
        add([&](Probe& other) { other.port = static_cast<std::uint16_t>(port); });
      }
      break;
    case L7Kind::kHttp:
      add([](Probe& other) { other.path += kNowhere; });
      add([](Probe& other) { other.path = "/" + std::string(kNowhere); });
      add([](Probe& other) { other.method = other.method == "GET" ? "HEAD" : "GET"; });
      add([](Probe& other) { other.host = std::string(kNowhere) + ".invalid"; });
      add([](Probe& other) { other.headers.clear(); });
      break;
    case L7Kind::kDns:
    case L7Kind::kTls:
      add([](Probe& other) { other.name = std::string(kNowhere) + "." + other.name; });
      add([](Probe& other) { other.name = std::string(kNowhere) + ".invalid"; });
      break;
    }
    return out;
  }

  void plan_rule(const Endpoint& pod, const RuleRef& rule) {
    const policy::Rule& source = *rule.source;
    std::vector<const policy::PortRule*> parts;
    for (const auto& ports : source.ports) {
      parts.push_back(&ports);
    }
    if (source.every_port) {
      parts.push_back(nullptr);
    }
    const bool denies = source.action == policy::Action::kDeny;
    bool any = false;
    for (const auto* ports : parts) {
      if (ports == nullptr || (!ports->terminating && ports->unsupported.empty())) {
        any = (denies ? plan_denial(pod, rule, ports) : plan_part(pod, rule, ports)) || any;
      }
    }
    if (!any) {
      skip(pod, rule);
    }
  }

  // Every probe of the rule that shows its verdict.
  template <typename Take> // (probe, outcome): true is enough
  bool each_probe(const Endpoint& pod, const policy::Rule& rule, const policy::PortRule* ports,
                  Take&& take) const {
    const bool egress = rule.direction == WEIR_EGRESS;
    const bool v4 = pod.addresses.front().is_v4();
    for (const End& peer : peers(pod, rule)) {
      const End own = end_of(pod, v4);
      for (Probe probe : samples(ports, egress ? peer : own)) {
        probe.from = egress ? own : peer;
        probe.to = egress ? peer : own;
        for (const std::uint16_t port : ports_of(ports, probe.to, probe.protocol)) {
          probe.port = port;
          const Outcome outcome = ask(probe);
          if (shows(probe, outcome) && take(probe, outcome)) {
            return true;
          }
        }
      }
    }
    return false;
  }

  bool plan_part(const Endpoint& pod, const RuleRef& rule, const policy::PortRule* ports) {
    std::set<std::string> done; // each path and name once, whoever may ask
    bool any = false;
    each_probe(pod, *rule.source, ports, [&](const Probe& probe, const Outcome& outcome) {
      if (!outcome.allowed || outcome.rules[rule.source->direction] != &rule ||
          !done.insert(probe.path + " " + probe.host + " " + probe.name).second) {
        return false;
      }
      any = true;
      add(probe, rule, true);
      add_nearest_denied(pod, rule, ports, probe);
      return probe.kind == L7Kind::kNone;
    });
    return any;
  }

  void add_nearest_denied(const Endpoint& pod, const RuleRef& rule, const policy::PortRule* ports,
                          const Probe& allowed) {
    for (const Probe& other : neighbours(allowed)) {
      const Outcome outcome = ask(other);
      if (!outcome.allowed && shows(other, outcome)) {
        add(other, rule, false);
        return;
      }
    }
    // Nothing else is denied to this peer: another peer then.
    each_probe(pod, *rule.source, ports, [&](const Probe& probe, const Outcome& outcome) {
      if (outcome.allowed) {
        return false;
      }
      add(probe, rule, false);
      return true;
    });
  }

  bool plan_denial(const Endpoint& pod, const RuleRef& rule, const policy::PortRule* ports) {
    return each_probe(pod, *rule.source, ports, [&](const Probe& probe, const Outcome& outcome) {
      if (outcome.allowed || outcome.rules[rule.source->direction] != &rule) {
        return false;
      }
      add(probe, rule, false);
      return true;
    });
  }

  void skip(const Endpoint& pod, const RuleRef& rule) {
    const bool egress = rule.source->direction == WEIR_EGRESS;
    x_probes.push_back(
        {{"rule", policy::rule_text(rule)},
         {egress ? "from" : "to", pod.full_name()},
         {"skipped", egress ? "no probe of it can be made: it speaks of no known pod and no single "
                              "address, or of nothing that may be sent"
                            : "no probe of it can be made: it allows no pod of this node, or "
                              "nothing that may be sent"}});
  }

  void add(const Probe& probe, const RuleRef& rule, bool allowed) {
    static constexpr std::string_view kKinds[] = {"tcp", "http", "dns", "tls"};
    json::object row{{"rule", policy::rule_text(rule)},
                     {"kind", kKinds[static_cast<std::size_t>(probe.kind)]},
                     {"from", probe.from.name()},
                     {"interface", probe.from.pod->interface},
                     {"to", probe.to.name()},
                     {"ip", probe.to.address.to_string()},
                     {"port", probe.port},
                     {"protocol", probe.protocol == IPPROTO_UDP ? "UDP" : "TCP"}};
    if (probe.kind == L7Kind::kHttp) {
      json::object headers;
      for (const auto& [name, value] : probe.headers) {
        headers[name] = value;
      }
      row["method"] = probe.method;
      row["path"] = probe.path;
      row["host"] = probe.host;
      row["headers"] = std::move(headers);
    } else if (probe.kind != L7Kind::kNone) {
      row["name"] = probe.name;
    }
    row["expect"] = allowed ? "allowed" : "denied";
    if (x_seen.insert(json::serialize(row)).second) {
      x_probes.push_back(std::move(row));
    }
  }

  const TraceWorld& x_world;
  std::vector<const Endpoint*> x_own, x_others; // by name
  json::array x_probes;
  std::set<std::string> x_seen;
};

} // namespace

json::array probes(const TraceWorld& world) { return Planner(world).plan(); }

} // namespace weir::admin
