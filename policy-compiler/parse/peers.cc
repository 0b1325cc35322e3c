// Who a rule is about: fromEndpoints … toFQDNs.
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/words.h"

#include <charconv>

namespace weir::policy {
namespace {

// The requirements that a peer selector has without writing them. `local_cluster` is honoured
// unless the configuration lets peers be of any cluster.
void add_scope(LabelSelector& selector, const PeerScope& scope) {
  if (selector.has_key_prefix("reserved:")) {
    return;
  }
  selector.local_cluster =
      !selector.has_key("k8s:" + label::kCluster) && !selector.has_key("any:" + label::kCluster);
  if (selector.has_key("k8s:" + label::kNamespace) ||
      selector.has_key("any:" + label::kNamespace)) {
    return;
  }
  if (scope.policy_namespace.empty()) {
    if (!scope.subject_is_init) {
      selector.require("k8s:" + label::kNamespace, Requirement::Op::kExists);
    }
  } else if (!selector.has_key_prefix("k8s:" + label::kNamespaceLabelPrefix) &&
             !selector.has_key_prefix("any:" + label::kNamespaceLabelPrefix)) {
    selector.require("k8s:" + label::kNamespace, Requirement::Op::kIn, {scope.policy_namespace});
  }
}

std::vector<IpPrefix> parse_excepts(DocumentLog& log, const NodeList& items, Action action,
                                    const std::optional<IpPrefix>& inside) {
  std::vector<IpPrefix> out;
  for (const auto& item : items) {
    const auto prefix = parse_prefix(log, *item, action);
    if (!prefix) {
      continue;
    }
    if (inside && !inside->contains(*prefix)) {
      log.error(*item,
                "`except` " + prefix->to_string() + " does not lie inside " + inside->to_string(),
                "", "except-outside");
      continue;
    }
    out.push_back(*prefix);
  }
  return out;
}

void parse_cidr_rule(DocumentLog& log, const YamlNode& node, Action action, Peers& out) {
  ObjectReader reader(log, node, "a CIDR set entry", fields::kCidrRule);
  const YamlNode* cidr = reader.find("cidr");
  const YamlNode* group = reader.find("cidrGroupRef");
  const YamlNode* selector = reader.find("cidrGroupSelector");
  const int given = (cidr != nullptr) + (group != nullptr) + (selector != nullptr);
  if (given != 1) {
    log.error(node,
              given == 0
                  ? "one of `cidr`, `cidrGroupRef` or `cidrGroupSelector` is needed"
                  : "only one of `cidr`, `cidrGroupRef` and `cidrGroupSelector` may be given",
              given == 0 ? "" : "make an entry of each", "cidr-set");
    return;
  }
  const NodeList* excepts = reader.list("except");
  static const NodeList kNone;
  if (excepts == nullptr) {
    excepts = &kNone;
  }
  if (cidr != nullptr) {
    if (const auto prefix = parse_prefix(log, *cidr, action)) {
      out.cidrs.push_back({*prefix, parse_excepts(log, *excepts, action, prefix)});
    }
    return;
  }
  CidrGroupPeer peer;
  if (group != nullptr) {
    peer.name = reader.text("cidrGroupRef").value_or("");
    if (peer.name.empty()) {
      log.error(*group, "`cidrGroupRef` is empty", "name a CiliumCIDRGroup", "missing-field");
    }
  } else {
    peer.selector = parse_selector(log, *selector, "`cidrGroupSelector`");
  }
  peer.except = parse_excepts(log, *excepts, action, std::nullopt);
  out.cidr_groups.push_back(std::move(peer));
}

void parse_service(DocumentLog& log, const YamlNode& node, Peers& out) {
  ObjectReader reader(log, node, "a toServices entry", fields::kService);
  if (const YamlNode* named = reader.find("k8sService")) {
    ObjectReader inner(log, *named, "`k8sService`", fields::kServiceName);
    ServicePeer peer;
    peer.name = inner.text("serviceName").value_or("");
    peer.service_namespace = inner.text("namespace").value_or("");
    if (peer.name.empty()) {
      log.error(*named, "`k8sService` needs a `serviceName`", "", "missing-field");
    }
    out.services.push_back(std::move(peer));
  }
  if (const YamlNode* selected = reader.find("k8sServiceSelector")) {
    ObjectReader inner(log, *selected, "`k8sServiceSelector`", fields::kServiceSelector);
    ServicePeer peer;
    peer.service_namespace = inner.text("namespace").value_or("");
    if (const YamlNode* selector = inner.find("selector")) {
      peer.selector = parse_selector(log, *selector, "`selector`");
    } else {
      log.error(*selected, "`k8sServiceSelector` needs a `selector`", "", "missing-field");
    }
    out.services.push_back(std::move(peer));
  }
}

std::optional<Entity> parse_entity(DocumentLog& log, const YamlNode& node) {
  const auto text = read_text(log, node, "an entity");
  if (!text) {
    return std::nullopt;
  }
  if (const auto place = words::place_of(*text, words::kEntities)) {
    return static_cast<Entity>(*place);
  }
  const auto near = nearest_word(*text, words::kEntities);
  log.error(node, "unknown entity `" + *text + "`",
            near ? "did you mean `" + std::string(*near) + "`?"
                 : "what lies outside of the cluster is `world`",
            "unknown-entity");
  return std::nullopt;
}

} // namespace

std::optional<IpPrefix> parse_prefix(DocumentLog& log, const YamlNode& node, Action action) {
  const auto text = read_text(log, node, "a CIDR");
  if (!text) {
    return std::nullopt;
  }
  if (const auto prefix = IpPrefix::parse(*text)) {
    return prefix;
  }
  // ::ffff:10.0.0.0/104: valid in Kubernetes, but no packet carries such an address. Nobody in an
  // allow rule; in a deny rule the IPv4 prefix it disguises.
  constexpr std::string_view kMapped = "::ffff:";
  const auto slash = text->find('/');
  if (text->size() > kMapped.size() && slash != std::string::npos) {
    std::string head = text->substr(0, kMapped.size());
    for (char& c : head) {
      c = c == 'F' ? 'f' : c;
    }
    int length = -1;
    std::from_chars(text->data() + slash + 1, text->data() + text->size(), length);
    const std::string v4 = text->substr(kMapped.size(), slash - kMapped.size());
    if (head == kMapped && length >= 96 && length <= 128 && v4.find('.') != std::string::npos) {
      const auto mapped = IpPrefix::parse(v4 + '/' + std::to_string(length - 96));
      if (mapped) {
        log.warning(node, "`" + *text + "` is an IPv4-mapped prefix, which no packet carries",
                    "write " + mapped->to_string(), "cidr-mapped");
        return action == Action::kDeny ? mapped : std::nullopt;
      }
    }
  }
  const std::string with_length = *text + (text->find(':') == std::string::npos ? "/32" : "/128");
  const bool bare = slash == std::string::npos && IpPrefix::parse(with_length).has_value();
  log.error(node, "`" + *text + "` is no CIDR",
            bare ? "write `" + with_length + "` for the one address" : "", "cidr");
  return std::nullopt;
}

Peers parse_peers(DocumentLog& log, ObjectReader& rule, const PeerScope& scope,
                  std::uint8_t direction, Action action, bool& present) {
  const std::string side = direction == WEIR_INGRESS ? "from" : "to";
  Peers out;
  std::vector<std::string> filled;
  present = false;
  const auto list = [&](const std::string& field) -> const NodeList* {
    if (rule.mentions(field) && rule.find(field) == nullptr) {
      log.warning(rule.node(), "`" + field + "` has no value and counts as absent",
                  "remove it, or write `[]` for nobody", "null-field");
    }
    const NodeList* items = rule.list(field);
    if (items != nullptr) {
      present = true;
      if (!items->empty()) {
        filled.push_back(field);
      }
    }
    return items;
  };

  if (const NodeList* items = list(side + "Endpoints")) {
    for (const auto& item : *items) {
      if (refuse_null_item(log, *item, "an endpoint selector")) {
        continue;
      }
      LabelSelector selector = parse_selector(log, *item, "an endpoint selector");
      add_scope(selector, scope);
      out.endpoints.push_back(std::move(selector));
    }
  }
  if (const NodeList* items = list(side + "Entities")) {
    for (const auto& item : *items) {
      if (const auto entity = parse_entity(log, *item)) {
        out.entities.push_back(*entity);
      }
    }
  }
  if (const NodeList* items = list(side + "CIDR")) {
    for (const auto& item : *items) {
      if (const auto prefix = parse_prefix(log, *item, action)) {
        out.cidrs.push_back({*prefix, {}});
      }
    }
  }
  if (const NodeList* items = list(side + "CIDRSet")) {
    for (const auto& item : *items) {
      parse_cidr_rule(log, *item, action, out);
    }
  }
  if (const NodeList* items = list(side + "Groups"); items != nullptr && !items->empty()) {
    for (const auto& item : *items) {
      ObjectReader(log, *item, "a group", fields::kGroup);
    }
    out.unresolvable = true;
    log.warning(rule.node(), "`" + side + "Groups` needs a cloud provider and is not resolved",
                action == Action::kDeny ? "the rule denies everybody" : "the rule allows nobody",
                "groups");
  }
  if (const NodeList* items = list(side + "Nodes"); items != nullptr && !items->empty()) {
    log.error(*items->front(), "`" + side + "Nodes` needs node labels, which weir does not have",
              "use the entities `host` and `remote-node`", "nodes");
  }
  if (const NodeList* items = rule.list(side + "Requires"); items != nullptr && !items->empty()) {
    log.error(*items->front(), "`" + side + "Requires` was removed from the language",
              "put the requirement into the endpoint selectors", "requires");
  }
  if (direction == WEIR_EGRESS) {
    if (const NodeList* items = list("toServices")) {
      for (const auto& item : *items) {
        parse_service(log, *item, out);
      }
    }
    if (const NodeList* items = list("toFQDNs")) {
      for (const auto& item : *items) {
        out.fqdns.push_back(parse_fqdn_selector(log, *item));
      }
    }
  }
  if (filled.size() > 1) {
    log.error(rule.node(), "`" + filled[0] + "` and `" + filled[1] + "` in one rule",
              "make two rules of it", "combined-peers");
  }
  return out;
}

} // namespace weir::policy
