// NetworkPolicy (networking.k8s.io/v1), read as Cilium reads it: absent and empty peer lists mean
// anybody, which is the opposite of Cilium's own kinds.
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/words.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace weir::policy {
namespace {

void parse_block(DocumentLog& log, const YamlNode& node, Peers& out) {
  ObjectReader reader(log, node, "`ipBlock`", fields::kNetworkBlock);
  const YamlNode* cidr = reader.find("cidr");
  if (cidr == nullptr) {
    log.error(node, "`ipBlock` needs a `cidr`", "", "missing-field");
    return;
  }
  const auto prefix = parse_prefix(log, *cidr, Action::kAllow);
  if (!prefix) {
    return;
  }
  CidrPeer peer{*prefix, {}};
  if (const NodeList* excepts = reader.list("except")) {
    for (const auto& item : *excepts) {
      const auto except = parse_prefix(log, *item, Action::kDeny);
      if (!except) {
        continue;
      }
      if (!prefix->contains(*except)) {
        log.warning(*item, except->to_string() + " does not lie inside " + prefix->to_string(),
                    "what lies outside has no effect", "except-outside");
      }
      peer.except.push_back(*except);
    }
  }
  out.cidrs.push_back(std::move(peer));
}

void parse_peer(DocumentLog& log, const YamlNode& node, const std::string& policy_namespace,
                Peers& out) {
  ObjectReader reader(log, node, "a peer", fields::kNetworkPeer);
  const YamlNode* pods = reader.find("podSelector");
  const YamlNode* namespaces = reader.find("namespaceSelector");
  const YamlNode* block = reader.find("ipBlock");
  if (pods == nullptr && namespaces == nullptr && block == nullptr) {
    log.warning(node, "an empty peer selects nobody", "remove the list for anybody", "empty-peer");
    return;
  }
  if (block != nullptr && (pods != nullptr || namespaces != nullptr)) {
    log.warning(node, "`ipBlock` beside selectors: nobody is both, so this peer selects nobody",
                "make two peers of it", "block-and-selector");
    return;
  }
  if (block != nullptr) {
    parse_block(log, *block, out);
    return;
  }
  LabelSelector selector;
  if (pods != nullptr) {
    selector = parse_selector(log, *pods, "`podSelector`", "k8s:");
  }
  if (namespaces == nullptr) {
    selector.require("k8s:" + label::kNamespace, Requirement::Op::kIn, {policy_namespace});
  } else {
    LabelSelector of_namespace = parse_selector(log, *namespaces, "`namespaceSelector`",
                                                "k8s:" + label::kNamespaceLabelPrefix);
    if (of_namespace.all.empty()) {
      selector.require("k8s:" + label::kNamespace, Requirement::Op::kExists);
    }
    for (Requirement& one : of_namespace.all) {
      selector.all.push_back(std::move(one));
    }
  }
  selector.local_cluster = true;
  out.endpoints.push_back(std::move(selector));
}

std::optional<PortMatch> parse_port(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "a `ports` entry", fields::kNetworkPort);
  PortMatch out;
  out.protocol = IPPROTO_TCP;
  if (const YamlNode* protocol = reader.find("protocol")) {
    const auto number = parse_protocol(log, *protocol);
    if (!number) {
      return std::nullopt;
    }
    out.protocol = *number;
  }
  const auto end = reader.number("endPort");
  const YamlNode* port = reader.find("port");
  if (port == nullptr) {
    out.last = 0xffff;
    if (end) {
      log.error(node, "`endPort` needs a `port`", "", "missing-field");
    }
    return out;
  }
  if (port->kind != YamlNode::Kind::kScalar) {
    log.error(*port,
              std::string("`port` must be a number or a name, here stands ") + port->description(),
              "", "wrong-type");
    return std::nullopt;
  }
  long long number = 0;
  const std::string& text = port->scalar;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && stop == text.data() + text.size()) {
    if (number < 0 || number > 0xffff) {
      log.error(*port, "port " + text + " is not from 0 to 65535", "", "port-range");
      return std::nullopt;
    }
    out.first = out.last = static_cast<std::uint16_t>(number);
    if (number == 0) {
      out.last = 0xffff;
    }
  } else if (auto name = port_name(text)) {
    out.name = std::move(*name);
  } else {
    log.error(*port, "`" + text + "` is no port", "a number from 0 to 65535, or a name", "port");
    return std::nullopt;
  }
  if (end) {
    if (*end < 0 || *end > 0xffff) {
      log.error(*reader.find("endPort"), "`endPort` must be from 0 to 65535", "", "port-range");
      return std::nullopt;
    }
    const auto last = static_cast<std::uint16_t>(*end);
    if (!out.name.empty() || (number != 0 && last > out.first)) {
      out.last = last;
    } else if (number == 0 && last > 0) {
      out.last = last;
    } else if (last < out.first) {
      log.warning(*reader.find("endPort"),
                  "`endPort` is below `port`: only port " + text + " is meant", "swap them",
                  "endport-below");
    }
  }
  return out;
}

Rule parse_rule(DocumentLog& log, const YamlNode& node, std::uint8_t direction,
                const std::string& policy_namespace, int number) {
  const bool ingress = direction == WEIR_INGRESS;
  ObjectReader reader(log, node, ingress ? "an ingress rule" : "an egress rule",
                      ingress ? fields::kNetworkIngress : fields::kNetworkEgress);
  Rule rule;
  rule.direction = direction;
  rule.section = ingress ? "ingress" : "egress";
  rule.number = number;
  rule.location = log.at(node);
  const NodeList* peers = reader.list(ingress ? "from" : "to");
  rule.peers.anybody = peers == nullptr || peers->empty();
  if (peers != nullptr) {
    for (const auto& item : *peers) {
      parse_peer(log, *item, policy_namespace, rule.peers);
    }
  }
  const NodeList* ports = reader.list("ports");
  if (ports != nullptr && !ports->empty()) {
    rule.every_port = false;
    for (const auto& item : *ports) {
      if (auto match = parse_port(log, *item)) {
        PortRule one;
        one.ports.push_back(std::move(*match));
        rule.ports.push_back(std::move(one));
      }
    }
  }
  return rule;
}

// A section without rules still denies, where it is meant: this is the rule that stands for it.
Rule nobody(std::uint8_t direction, const Location& location) {
  Rule rule;
  rule.direction = direction;
  rule.section = direction == WEIR_INGRESS ? "ingress" : "egress";
  rule.location = location;
  return rule;
}

} // namespace

void parse_network_policy(DocumentLog& log, const YamlNode& root, Policy& policy) {
  ObjectReader top(log, root, "NetworkPolicy", fields::kNetworkPolicy);
  static const YamlNode kNothing;
  const YamlNode* node = top.find("spec");
  ObjectReader reader(log, node != nullptr ? *node : kNothing, "`spec`", fields::kNetworkSpec);
  Spec spec;
  spec.location = log.at(node != nullptr ? *node : root);
  if (const YamlNode* pods = reader.find("podSelector")) {
    spec.subject = parse_selector(log, *pods, "`podSelector`", "k8s:");
  }
  spec.subject.require("k8s:" + label::kNamespace, Requirement::Op::kIn, {policy.policy_namespace});

  bool asks[2] = {};
  if (const auto types = reader.texts("policyTypes")) {
    for (const std::string& type : *types) {
      if (const auto direction = words::place_of(type, words::kPolicyTypes)) {
        asks[*direction] = true;
      } else {
        log.error(*reader.find("policyTypes"), "unknown policy type `" + type + "`",
                  "write Ingress or Egress", "policy-type");
      }
    }
  }
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    const NodeList* rules = reader.list(direction == WEIR_INGRESS ? "ingress" : "egress");
    int number = 0;
    if (rules != nullptr) {
      for (const auto& item : *rules) {
        spec.rules.push_back(parse_rule(log, *item, direction, policy.policy_namespace, ++number));
      }
    }
    const bool wanted =
        direction == WEIR_INGRESS ? asks[WEIR_INGRESS] || !asks[WEIR_EGRESS] : asks[WEIR_EGRESS];
    if (number == 0 && wanted) {
      spec.rules.push_back(nobody(direction, spec.location));
    }
    spec.has[direction] = number > 0 || wanted;
    spec.default_deny[direction] = spec.has[direction];
  }
  policy.specs.push_back(std::move(spec));
}

} // namespace weir::policy
