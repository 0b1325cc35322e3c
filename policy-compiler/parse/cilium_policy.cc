// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2).
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"

#include <algorithm>
#include <array>

namespace weir::policy {
namespace {

struct Section {
  std::string_view name;
  std::uint8_t direction;
  Action action;
  const ObjectFields& fields;
  std::string_view what;
};
const std::array<Section, 4> kSections = {
    {{"ingress", WEIR_INGRESS, Action::kAllow, fields::kIngress, "an ingress rule"},
     {"ingressDeny", WEIR_INGRESS, Action::kDeny, fields::kIngressDeny, "an ingressDeny rule"},
     {"egress", WEIR_EGRESS, Action::kAllow, fields::kEgress, "an egress rule"},
     {"egressDeny", WEIR_EGRESS, Action::kDeny, fields::kEgressDeny, "an egressDeny rule"}}};

void parse_authentication(DocumentLog& log, ObjectReader& reader, Rule& rule) {
  const YamlNode* node = reader.find("authentication");
  if (node == nullptr) {
    return;
  }
  ObjectReader inner(log, *node, "`authentication`", fields::kAuthentication);
  const std::string mode = inner.text("mode").value_or("");
  if (mode == "disabled") {
    return;
  }
  rule.unprovable = true;
  log.warning(*node, "authentication mode `" + mode + "` cannot be proved by weir",
              "this rule allows nothing", "authentication");
}

Rule parse_rule(DocumentLog& log, const YamlNode& node, const Section& section,
                const PeerScope& scope, bool bind_fqdn, int number) {
  ObjectReader reader(log, node, section.what, section.fields);
  Rule rule;
  rule.action = section.action;
  rule.direction = section.direction;
  rule.section = section.name;
  rule.number = number;
  rule.location = log.at(node);

  bool peers_given = false;
  rule.peers = parse_peers(log, reader, scope, section.direction, section.action, peers_given);
  if (section.action == Action::kDeny && !rule.peers.fqdns.empty()) {
    log.note(node, "`toFQDNs` in egressDeny is an extension of weir",
             "Cilium ignores it and denies everybody", "extension");
  }
  if (section.action == Action::kAllow) {
    parse_authentication(log, reader, rule);
  }

  const NodeList* ports = reader.list("toPorts");
  const NodeList* icmps = reader.list("icmps");
  const bool has_ports = ports != nullptr && !ports->empty();
  const bool has_icmps = icmps != nullptr && !icmps->empty();
  if (has_ports && has_icmps) {
    log.error(node, "`icmps` and `toPorts` in one rule", "make two rules of it", "icmp-ports");
  }
  if (has_ports) {
    rule.ports = parse_port_rules(log, *ports, section.direction, section.action);
  }
  if (has_icmps) {
    rule.icmps = parse_icmps(log, *icmps);
  }
  rule.every_port = !has_ports && !has_icmps;
  // Without a peer field a rule is about ports alone; without either it is about nobody.
  rule.peers.anybody = !peers_given && !rule.every_port;
  if (bind_fqdn && section.action == Action::kAllow && !rule.peers.fqdns.empty()) {
    bind_names(log, node, rule);
  }
  return rule;
}

void check_labels(DocumentLog& log, ObjectReader& reader) {
  const NodeList* labels = reader.list("labels");
  if (labels == nullptr) {
    return;
  }
  for (const auto& item : *labels) {
    if (item->is_string()) {
      continue; // "k8s:key=value"
    }
    ObjectReader inner(log, *item, "a label", fields::kLabel);
    inner.text("key");
    inner.text("value");
    inner.text("source");
  }
}

void parse_default_deny(DocumentLog& log, ObjectReader& reader, Spec& spec) {
  for (const int direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    spec.default_deny[direction] = spec.has[direction];
  }
  const YamlNode* node = reader.find("enableDefaultDeny");
  if (node == nullptr) {
    return;
  }
  ObjectReader inner(log, *node, "`enableDefaultDeny`", fields::kDefaultDeny);
  // `true` for a direction without rules changes nothing, as in the reference.
  if (const auto ingress = inner.boolean("ingress")) {
    spec.default_deny[WEIR_INGRESS] = *ingress && spec.has[WEIR_INGRESS];
  }
  if (const auto egress = inner.boolean("egress")) {
    spec.default_deny[WEIR_EGRESS] = *egress && spec.has[WEIR_EGRESS];
  }
}

// A namespace among the subject's matchLabels gives way to the policy's own, as in the reference;
// one among its expressions has to be met as well.
void ignore_subject_namespace(DocumentLog& log, const YamlNode* selector,
                              const std::string& policy_namespace, LabelSelector& subject) {
  const std::string key = "k8s:" + label::kNamespace;
  if (selector == nullptr) {
    return;
  }
  for (const YamlNode::Entry& part : selector->entries) {
    if (part.key != "matchLabels") {
      continue;
    }
    for (const YamlNode::Entry& entry : part.value->entries) {
      if (entry.key != key) {
        continue;
      }
      if (entry.value->scalar != policy_namespace) {
        log.warning(*entry.value, "a policy applies in its own namespace only",
                    "the namespace in `endpointSelector` is ignored", "subject-namespace");
      }
      const auto ignored = std::find_if(subject.all.begin(), subject.all.end(),
                                        [&](const Requirement& one) { return one.key == key; });
      if (ignored != subject.all.end()) { // labels stand before expressions
        subject.all.erase(ignored);
      }
    }
  }
}

Spec parse_spec(DocumentLog& log, const YamlNode& node, const Policy& policy) {
  ObjectReader reader(log, node, "`spec`", fields::kSpec);
  Spec spec;
  spec.location = log.at(node);
  spec.description = reader.text("description").value_or("");
  check_labels(log, reader);
  if (const YamlNode* entry = reader.find("log")) {
    ObjectReader(log, *entry, "`log`", fields::kLog).text("value");
  }

  const bool cluster_wide = policy.policy_namespace.empty();
  const YamlNode* endpoints = reader.find("endpointSelector");
  const YamlNode* nodes = reader.find("nodeSelector");
  if (endpoints != nullptr && nodes != nullptr) {
    log.error(*nodes, "`endpointSelector` and `nodeSelector` in one spec", "keep one of them",
              "selectors");
  } else if (endpoints == nullptr && nodes == nullptr) {
    log.error(node, "a spec needs an `endpointSelector`",
              "write `endpointSelector: {}` for every pod of the namespace", "missing-field");
  } else if (nodes != nullptr && !cluster_wide) {
    log.error(*nodes, "`nodeSelector` is for CiliumClusterwideNetworkPolicy only", "", "selectors");
  }
  if (endpoints != nullptr) {
    spec.subject = parse_selector(log, *endpoints, "`endpointSelector`");
  }
  if (nodes != nullptr) {
    parse_selector(log, *nodes, "`nodeSelector`");
    spec.host_policy = true;
    log.warning(*nodes, "policies of nodes are not enforced by weir: this spec selects no pod", "",
                "host-policy");
  }

  PeerScope scope{policy.policy_namespace, spec.subject.has_key("reserved:init")};
  if (!cluster_wide) {
    ignore_subject_namespace(log, endpoints, policy.policy_namespace, spec.subject);
    spec.subject.require("k8s:" + label::kNamespace, Requirement::Op::kIn,
                         {policy.policy_namespace});
  }

  bool any = false;
  for (const Section& section : kSections) {
    const NodeList* rules = reader.list(section.name);
    if (rules == nullptr || rules->empty()) {
      continue;
    }
    any = true;
    spec.has[section.direction] = true;
    int number = 0;
    for (const auto& item : *rules) {
      spec.rules.push_back(parse_rule(log, *item, section, scope, policy.bind_fqdn, ++number));
    }
  }
  if (!any) {
    log.error(node,
              "a spec needs at least one rule in `ingress`, `ingressDeny`, `egress` or "
              "`egressDeny`",
              "`ingress: [{}]` denies everything", "no-rules");
  }
  parse_default_deny(log, reader, spec);
  return spec;
}

} // namespace

void parse_cilium_policy(DocumentLog& log, const YamlNode& root, Policy& policy) {
  ObjectReader reader(log, root, policy.kind, fields::kCiliumPolicy);
  if (const YamlNode* spec = reader.find("spec")) {
    policy.specs.push_back(parse_spec(log, *spec, policy));
  }
  if (const NodeList* specs = reader.list("specs")) {
    for (const auto& item : *specs) {
      policy.specs.push_back(parse_spec(log, *item, policy));
    }
  } else if (reader.find("spec") == nullptr) {
    log.error(root, "a policy needs a `spec`", "", "missing-field");
  }
}

} // namespace weir::policy
