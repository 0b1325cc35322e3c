#include "test/policy/reference.h"

#include <netinet/in.h>
#include <re2/re2.h>

#include <algorithm>

namespace weir::policy::test {
namespace {

bool has_label(const Labels& labels, const std::string& key, std::vector<std::string>* values) {
  bool found = false;
  const std::string bare = key.substr(key.find(':') + 1);
  for (const auto& [label, value] : labels) {
    const bool same =
        key.starts_with("any:") ? label.substr(label.find(':') + 1) == bare : label == key;
    if (same) {
      found = true;
      if (values != nullptr) {
        values->push_back(value);
      }
    }
  }
  return found;
}

bool selects(const LabelSelector& selector, const Labels& labels, const CompileOptions& options) {
  for (const Requirement& one : selector.all) {
    std::vector<std::string> values;
    const bool present = has_label(labels, one.key, &values);
    bool listed = false;
    for (const std::string& value : values) {
      listed = listed || std::find(one.values.begin(), one.values.end(), value) != one.values.end();
    }
    const bool met = one.op == Requirement::Op::kIn       ? listed
                     : one.op == Requirement::Op::kNotIn  ? !listed
                     : one.op == Requirement::Op::kExists ? present
                                                          : !present;
    if (!met) {
      return false;
    }
  }
  if (selector.local_cluster && !options.any_cluster) {
    const auto found = labels.find("k8s:" + label::kCluster);
    return found != labels.end() && found->second == options.cluster_name;
  }
  return true;
}

bool is(const Labels& labels, const char* reserved) {
  return labels.contains(std::string("reserved:") + reserved);
}

bool is_entity(Entity entity, const Labels& labels, const CompileOptions& options) {
  const auto cluster = labels.find("k8s:" + label::kCluster);
  const bool in_cluster = is(labels, "host") || is(labels, "remote-node") || is(labels, "init") ||
                          is(labels, "ingress") || is(labels, "health") ||
                          is(labels, "unmanaged") || is(labels, "kube-apiserver");
  switch (entity) {
  case Entity::kAll:
    return true;
  case Entity::kWorld:
    return is(labels, "world") || is(labels, "world-ipv4") || is(labels, "world-ipv6");
  case Entity::kWorldIpv4:
    return is(labels, "world-ipv4");
  case Entity::kWorldIpv6:
    return is(labels, "world-ipv6");
  case Entity::kCluster:
    return in_cluster || (cluster != labels.end() && cluster->second == options.cluster_name);
  case Entity::kClusterMesh:
    return in_cluster || cluster != labels.end();
  case Entity::kHost:
    return is(labels, "host");
  case Entity::kRemoteNode:
    return is(labels, "remote-node");
  case Entity::kKubeApiserver:
    return is(labels, "kube-apiserver");
  case Entity::kHealth:
    return is(labels, "health");
  case Entity::kInit:
    return is(labels, "init");
  case Entity::kIngress:
    return is(labels, "ingress");
  case Entity::kUnmanaged:
    return is(labels, "unmanaged");
  case Entity::kNone:
    return false;
  }
  return false;
}

// The pattern as the documentation's regular expression, on the name with its dot.
bool name_matches(const NamePattern& pattern, const std::string& name) {
  if (!pattern.match_name.empty()) {
    return pattern.match_name == name;
  }
  if (pattern.match_pattern.find_first_not_of('*') == std::string::npos) {
    return !pattern.match_pattern.empty();
  }
  std::string regex;
  std::string rest = pattern.match_pattern;
  if (const auto dot = rest.find_first_not_of('*');
      dot >= 2 && dot != std::string::npos && rest[dot] == '.') {
    regex = "([-a-z0-9_]+[.])+";
    rest = rest.substr(dot + 1);
  }
  for (const char c : rest) {
    regex += c == '*' ? "[-a-z0-9_]*" : c == '.' ? "[.]" : std::string(1, c);
  }
  return re2::RE2::FullMatch(name, regex);
}

// Does one of the selectors of a rule mean the peer? They are visited one by one, with a text that
// is the same for the same selector, and the names of toFQDNs.
template <typename Visit>
void for_each_peer(const Rule& rule, const ReferencePeer& peer, const CompileOptions& options,
                   Visit&& visit) {
  if (rule.peers.anybody) {
    visit("any", nullptr);
  }
  for (const LabelSelector& selector : rule.peers.endpoints) {
    if (selects(selector, peer.labels, options)) {
      visit(selector.text(), nullptr);
    }
  }
  for (const Entity entity : rule.peers.entities) {
    if (is_entity(entity, peer.labels, options)) {
      visit(entity == Entity::kAll ? "any" : "entity " + std::to_string(static_cast<int>(entity)),
            nullptr);
    }
  }
  for (const CidrPeer& cidr : rule.peers.cidrs) {
    if (!peer.outside || !cidr.prefix.contains(*peer.outside)) {
      continue;
    }
    std::string text = cidr.prefix.to_string();
    bool excepted = false;
    for (const IpPrefix& except : cidr.except) {
      excepted = excepted || except.contains(*peer.outside);
      text += ' ' + except.to_string();
    }
    if (!excepted) {
      visit(text, nullptr);
    }
  }
  for (const NamePattern& pattern : rule.peers.fqdns) {
    if (peer.outside && std::any_of(peer.names.begin(), peer.names.end(), [&](const auto& name) {
          return name_matches(pattern, name);
        })) {
      visit("fqdn " + pattern.match_name + '|' + pattern.match_pattern, &pattern);
    }
  }
}

bool port_matches(const PortMatch& match, std::uint8_t protocol, std::uint16_t port,
                  const std::vector<NamedPort>& named, bool ingress) {
  if (match.protocol != 0
          ? match.protocol != protocol
          : protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP) {
    return false;
  }
  if (match.name.empty()) {
    return port >= match.first && port <= match.last;
  }
  return std::any_of(named.begin(), named.end(), [&](const NamedPort& one) {
    const std::uint16_t last = ingress ? std::max(one.port, match.last) : one.port;
    return one.name == match.name && one.protocol == protocol && port >= one.port && port <= last;
  });
}

std::string text_of(const PortMatch& match, std::uint8_t protocol) {
  return std::to_string(protocol) + ' ' + match.name + ' ' + std::to_string(match.first) + ' ' +
         std::to_string(match.last);
}

struct L7Finding {
  const PortRule* ports;
  const NamePattern* bound_to; // null: any name will do
};

// Everything in one direction that speaks of the flow.
struct Findings {
  bool enforced = false, default_deny = false, deny = false, plain = false;
  std::vector<L7Finding> l7, l7_deny;
};

Findings look(const CompileInput& input, const EndpointInput& endpoint, const ReferencePeer& peer,
              std::uint8_t direction, std::uint8_t protocol, std::uint16_t port) {
  const bool ingress = direction == WEIR_INGRESS;
  Findings out;
  if (input.options.mode == EnforcementMode::kNever) {
    return out;
  }
  out.enforced = out.default_deny = input.options.mode == EnforcementMode::kAlways;
  Labels subject;
  for (const IdentityInput& identity : input.identities) {
    if (identity.id == endpoint.identity) {
      subject = *identity.labels;
    }
  }
  std::vector<std::string> named, plain; // selector and ports, as texts
  for (const auto& policy : input.policies) {
    for (const Spec& spec : policy->specs) {
      if (spec.host_policy || !selects(spec.subject, subject, input.options)) {
        continue;
      }
      out.enforced = out.enforced || spec.has[direction];
      out.default_deny = out.default_deny || spec.default_deny[direction];
      for (const Rule& rule : spec.rules) {
        if (rule.direction != direction) {
          continue;
        }
        const bool deny = rule.action == Action::kDeny;
        for_each_peer(
            rule, peer, input.options, [&](const std::string& selector, const NamePattern* name) {
              if (rule.every_port) {
                (deny ? out.deny : out.plain) = true;
              }
              for (const IcmpMatch& icmp : rule.icmps) {
                if (icmp.protocol == protocol && icmp.type == port) {
                  (deny ? out.deny : out.plain) = true;
                }
              }
              for (const PortRule& ports : rule.ports) {
                for (const PortMatch& match : ports.ports) {
                  if (!port_matches(match, protocol, port,
                                    ingress ? endpoint.named_ports : peer.ports, ingress)) {
                    continue;
                  }
                  const std::string text = text_of(match, protocol) + ' ' + selector;
                  if (ports.l7 == L7Kind::kTls && !deny) {
                    named.push_back(text);
                  }
                  if (ports.l7 != L7Kind::kNone) {
                    (deny ? out.l7_deny : out.l7)
                        .push_back({&ports, rule.binds_names ? name : nullptr});
                  } else if (deny) {
                    out.deny = true;
                  } else {
                    plain.push_back(text);
                  }
                }
              }
            });
      }
    }
  }
  for (const std::string& text : plain) {
    out.plain = out.plain || std::find(named.begin(), named.end(), text) == named.end();
  }
  if (ingress && input.options.allow_localhost && is(peer.labels, "host")) {
    out.plain = true;
  }
  if (out.enforced && !out.default_deny) {
    out.plain = true;
  }
  return out;
}

bool http_matches(const PortRule& rules, const std::string& method, const std::string& path) {
  return std::any_of(rules.http.begin(), rules.http.end(), [&](const HttpRule& rule) {
    return (rule.method.empty() || re2::RE2::FullMatch(method, rule.method)) &&
           (rule.path.empty() || re2::RE2::FullMatch(path, rule.path));
  });
}

bool speaks(const std::vector<L7Finding>& rules, L7Kind kind) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const L7Finding& one) { return one.ports->l7 == kind; });
}

} // namespace

ReferenceVerdict Reference::decide(const EndpointInput& endpoint, const ReferencePeer& peer,
                                   Direction direction, std::uint8_t protocol,
                                   std::uint16_t port) const {
  const Findings found =
      look(x_input, endpoint, peer, static_cast<std::uint8_t>(direction), protocol, port);
  ReferenceVerdict out;
  out.enforced = found.enforced;
  if (!found.enforced) {
    return out;
  }
  std::vector<L7Finding> l7 = found.l7;
  l7.insert(l7.end(), found.l7_deny.begin(), found.l7_deny.end());
  if (found.deny) {
    out.verdict = Verdict::kDeny;
  } else if (!l7.empty()) {
    out.verdict = Verdict::kRedirect;
    out.protocol = speaks(l7, L7Kind::kHttp)  ? L7Protocol::kHttp
                   : speaks(l7, L7Kind::kTls) ? L7Protocol::kTls
                                              : L7Protocol::kDns;
  } else {
    out.verdict = found.plain ? Verdict::kAllow : Verdict::kDeny;
  }
  return out;
}

bool Reference::http(const EndpointInput& endpoint, const ReferencePeer& peer, Direction direction,
                     std::uint16_t port, const Request& request) const {
  const Findings found =
      look(x_input, endpoint, peer, static_cast<std::uint8_t>(direction), IPPROTO_TCP, port);
  const auto matches = [&](const L7Finding& rules) {
    return http_matches(*rules.ports, request.method, request.path) &&
           (rules.bound_to == nullptr ||
            (name_matches(*rules.bound_to, request.host) &&
             std::find(peer.names.begin(), peer.names.end(), request.host) != peer.names.end()));
  };
  for (const L7Finding& rules : found.l7_deny) {
    if (rules.ports->l7 != L7Kind::kHttp || matches(rules)) {
      return false;
    }
  }
  return found.plain || std::any_of(found.l7.begin(), found.l7.end(), [&](const L7Finding& rules) {
           return rules.ports->l7 == L7Kind::kHttp && matches(rules);
         });
}

} // namespace weir::policy::test
