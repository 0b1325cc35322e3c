#include "policy-compiler/lower/endpoint.h"

#include "policy-compiler/lower/l4.h"
#include "policy-compiler/lower/l7.h"

#include <algorithm>
#include <unordered_set>

namespace weir::policy {

using Effect = Filter::Effect;

std::vector<RuleRef> built_in_rules() {
  std::vector<RuleRef> out(3);
  out[kRuleDefaultDeny].label = "default-deny";
  out[kRuleLocalhost].label = "allow-localhost";
  out[kRuleDefaultAllow].label = "default-allow";
  return out;
}

struct EndpointLowering::Peer {
  std::string key;
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities;
  std::uint64_t fqdn_mask = 0;
};

EndpointLowering::EndpointLowering(const CompileInput& input, const Universe& universe,
                                   const std::vector<ResolvedSpec>& specs, const FqdnNames& names,
                                   std::shared_ptr<const std::vector<RuleRef>> rules,
                                   FqdnGroupBits& bits, Diagnostics& diagnostics)
    : x_input(input), x_universe(universe), x_specs(specs), x_names(names),
      x_rules(std::move(rules)), x_bits(bits), x_diagnostics(diagnostics),
      x_peer_ports(input, universe) {}

std::vector<std::unique_ptr<const L7Rules>> EndpointLowering::take_l7_rules() {
  std::vector<std::unique_ptr<const L7Rules>> out;
  out.reserve(x_l7.size());
  for (auto& [ports, rules] : x_l7) {
    out.push_back(std::move(rules));
  }
  x_l7.clear();
  return out;
}

const L7Rules* EndpointLowering::l7_rules(const PortRule& ports, Action action,
                                          std::uint32_t rule) {
  auto& rules = x_l7[&ports];
  if (rules == nullptr) {
    rules = lower_l7(ports, action, x_rules->data() + rule, x_input.header_secrets);
  }
  return rules.get();
}

const EndpointLowering::Selected& EndpointLowering::selected(IdentityId identity) {
  const auto [found, is_new] = x_selected.try_emplace(identity);
  if (!is_new) {
    return found->second;
  }
  const auto table = x_universe.table();
  const auto place = table->find(identity);
  if (place != table->end()) {
    for (const ResolvedSpec& spec : x_specs) {
      if (spec.subjects->test(place->second)) {
        found->second.specs.push_back(&spec);
      }
    }
  }
  group_fqdns(found->second);
  return found->second;
}

void EndpointLowering::group_fqdns(Selected& selected) const {
  std::map<std::string, std::vector<const ResolvedRule*>> rules_of_name;
  std::unordered_set<const ResolvedRule*> denying;
  for (const ResolvedSpec* spec : selected.specs) {
    for (const ResolvedRule& rule : spec->rules) {
      for (const std::string& name : rule.fqdns) {
        rules_of_name[name].push_back(&rule);
      }
      if (rule.rule->action == Action::kDeny) {
        denying.insert(&rule);
      }
    }
  }
  std::map<std::vector<const ResolvedRule*>, std::size_t> group_of_rules;
  for (const auto& [name, rules] : rules_of_name) {
    const auto [found, is_new] = group_of_rules.try_emplace(rules, selected.groups.size());
    if (is_new) {
      selected.groups.emplace_back();
      for (const ResolvedRule* rule : rules) {
        selected.groups_of_rule[rule].push_back(found->second);
        selected.groups.back().denies = selected.groups.back().denies || denying.contains(rule);
      }
    }
    FqdnGroup& group = selected.groups[found->second];
    group.names.push_back(name);
    group.content += name + '\n';
  }
}

EndpointLowering::Masks EndpointLowering::allot(const EndpointInput& endpoint,
                                                const Selected& selected) {
  Masks masks(selected.groups.size());
  // Denials first: what gets no bit allows nothing, but would have to deny everybody.
  for (const bool denies : {true, false}) {
    for (std::size_t i = 0; i < selected.groups.size(); ++i) {
      if (selected.groups[i].denies != denies) {
        continue;
      }
      if (const auto bit = x_bits.bit_of(endpoint.id, selected.groups[i].content);
          bit && *bit < 64) {
        masks[i] = std::uint64_t{1} << *bit;
        continue;
      }
      x_diagnostics.push_back({Severity::kWarning,
                               {},
                               "more than 64 groups of toFQDNs for " + endpoint.endpoint_namespace +
                                   '/' + endpoint.name + ": `" + selected.groups[i].names.front() +
                                   "` and what goes with it " +
                                   (denies ? "denies everybody" : "allows nobody"),
                               "put names that open the same ports into one rule",
                               "fqdn-groups"});
    }
  }
  return masks;
}

std::shared_ptr<const CompiledEndpoint> EndpointLowering::lower(const EndpointInput& endpoint) {
  const Selected& chosen = selected(endpoint.identity);
  const Masks masks = allot(endpoint, chosen);
  std::string key = std::to_string(endpoint.identity);
  for (const NamedPort& port : endpoint.named_ports) {
    key += ' ' + port.name + '=' + std::to_string(port.port) + '/' + std::to_string(port.protocol);
  }
  for (const std::uint64_t mask : masks) {
    key += ' ' + std::to_string(mask);
  }
  auto& built = x_built[key];
  if (built == nullptr) {
    built = build(endpoint, chosen, masks);
  }
  return built;
}

std::shared_ptr<const CompiledEndpoint> EndpointLowering::build(const EndpointInput& endpoint,
                                                                const Selected& selected,
                                                                const Masks& masks) {
  auto out = std::make_shared<CompiledEndpoint>();
  out->identities = x_universe.table();
  out->rules = x_rules;
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    lower_direction(direction, endpoint, selected, masks, *out);
  }
  for (std::size_t i = 0; i < masks.size(); ++i) {
    for (const std::string& key : selected.groups[i].names) {
      const NamePattern& name = x_names.at(key);
      const bool literal = !name.match_name.empty();
      NameMatcher matcher = literal ? NameMatcher::literal(name.match_name)
                                    : NameMatcher::pattern(name.match_pattern);
      if (matcher.is_literal()) {
        out->fqdn_names[matcher.name()] |= masks[i];
      } else {
        out->fqdn_patterns.push_back({std::move(matcher), masks[i]});
      }
    }
  }
  out->kernel_rows = lower_rows(*out, x_universe);
  if (std::any_of(selected.specs.begin(), selected.specs.end(),
                  [](const ResolvedSpec* spec) { return spec->policy->audit; })) {
    add_unaudited(endpoint, selected, masks, *out);
  }
  return out;
}

// The names and their groups are the same with and without.
void EndpointLowering::add_unaudited(const EndpointInput& endpoint, const Selected& selected,
                                     const Masks& masks, CompiledEndpoint& out) {
  Selected rest = selected;
  std::erase_if(rest.specs, [](const ResolvedSpec* spec) { return spec->policy->audit; });
  auto without = std::make_shared<CompiledEndpoint>();
  without->identities = out.identities;
  without->rules = out.rules;
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    lower_direction(direction, endpoint, rest, masks, *without);
  }
  const auto rows = lower_unaudited_rows(*without, x_universe);
  out.kernel_rows.insert(out.kernel_rows.end(), rows.begin(), rows.end());
  out.unaudited = std::move(without);
}

void EndpointLowering::lower_direction(std::uint8_t direction, const EndpointInput& endpoint,
                                       const Selected& selected, const Masks& masks,
                                       CompiledEndpoint& out) {
  const EnforcementMode mode = x_input.options.mode;
  if (mode == EnforcementMode::kNever) {
    return;
  }
  // A pod without labels yet is enforced whatever the mode says.
  const bool always = mode == EnforcementMode::kAlways || endpoint.identity == WEIR_IDENTITY_INIT;
  bool some_policy = false;
  bool default_deny = always;
  bool each_peer = false; // server names: it matters by which selector a peer is meant
  for (const ResolvedSpec* spec : selected.specs) {
    some_policy = some_policy || spec->spec->has[direction];
    default_deny = default_deny || spec->spec->default_deny[direction];
    for (const ResolvedRule& rule : spec->rules) {
      each_peer =
          each_peer || std::any_of(rule.rule->ports.begin(), rule.rule->ports.end(),
                                   [](const PortRule& ports) { return ports.l7 == L7Kind::kTls; });
    }
  }
  out.is_enforced[direction] = some_policy || always;
  if (!out.is_enforced[direction]) {
    return;
  }

  std::vector<Filter>& filters = out.filters[direction];
  std::vector<std::string> keys;
  for (const ResolvedSpec* spec : selected.specs) {
    for (const ResolvedRule& rule : spec->rules) {
      if (rule.rule->direction != direction ||
          (spec->withdrawn && rule.rule->action == Action::kAllow)) {
        continue;
      }
      lower_rule(rule, endpoint.named_ports, each_peer, selected, masks, !default_deny, filters,
                 keys);
    }
  }
  if (each_peer) {
    // A plain allow with the selector and ports of a serverNames rule adds nothing to it.
    std::unordered_set<std::string> named;
    for (std::size_t i = 0; i < filters.size(); ++i) {
      if (filters[i].effect == Effect::kAllowL7 && filters[i].l7->protocol == L7Protocol::kTls) {
        named.insert(keys[i]);
      }
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < filters.size(); ++i) {
      if (filters[i].effect == Effect::kAllow && named.contains(keys[i])) {
        continue;
      }
      if (kept != i) {
        filters[kept] = std::move(filters[i]);
      }
      ++kept;
    }
    filters.resize(kept);
  }

  if (direction == WEIR_INGRESS && x_input.options.allow_localhost) {
    Filter localhost;
    localhost.rule = kRuleLocalhost;
    auto host = std::make_shared<IdentitySet>(x_universe.nobody());
    host->set(x_universe.table()->at(WEIR_IDENTITY_HOST));
    localhost.identities = std::move(host);
    filters.push_back(std::move(localhost));
  }
  if (!default_deny) {
    Filter everybody;
    everybody.rule = kRuleDefaultAllow;
    everybody.anybody = true;
    filters.push_back(std::move(everybody));
  }
}

std::vector<EndpointLowering::Peer> EndpointLowering::peers_of(const ResolvedRule& rule,
                                                               bool each_peer,
                                                               const Selected& selected,
                                                               const Masks& masks) const {
  std::vector<Peer> out;
  if (each_peer) {
    for (const ResolvedPeer& peer : rule.peers) {
      out.push_back({peer.key, peer.anybody, peer.identities, 0});
    }
  } else if (!rule.nobody) {
    out.push_back({{}, rule.all_peers.anybody, rule.all_peers.identities, 0});
  }
  const bool denies = rule.rule->action == Action::kDeny;
  if (const auto groups = selected.groups_of_rule.find(&rule);
      groups != selected.groups_of_rule.end()) {
    for (const std::size_t group : groups->second) {
      if (masks[group] != 0) {
        out.push_back({"fqdn " + selected.groups[group].content, false, nullptr, masks[group]});
      } else if (denies) {
        out.push_back({"any", true, nullptr, 0});
      }
    }
  }
  return out;
}

void EndpointLowering::lower_rule(const ResolvedRule& rule, const std::vector<NamedPort>& own_ports,
                                  bool each_peer, const Selected& selected, const Masks& masks,
                                  bool pass_all, std::vector<Filter>& out,
                                  std::vector<std::string>& keys) {
  const bool denies = rule.rule->action == Action::kDeny;
  if (rule.rule->action == Action::kPass || (rule.rule->unprovable && !denies)) {
    return;
  }
  const std::vector<Peer> peers = peers_of(rule, each_peer, selected, masks);
  if (peers.empty()) {
    return;
  }
  for (const PortFilter& ports : lower_ports(*rule.rule, own_ports, x_peer_ports)) {
    const bool unsupported = ports.rule != nullptr && !ports.rule->unsupported.empty();
    if (unsupported && !denies) {
      continue;
    }
    const bool has_l7 = ports.rule != nullptr && ports.rule->l7 != L7Kind::kNone && !unsupported;
    for (const Peer& peer : peers) {
      Filter filter;
      filter.rule = rule.index;
      filter.protocol = ports.protocol;
      filter.first = ports.first;
      filter.last = ports.last;
      filter.exact_port = ports.exact;
      filter.lets_all_pass = pass_all;
      filter.anybody = peer.anybody;
      filter.identities = peer.identities;
      filter.fqdn_mask = peer.fqdn_mask;
      if (ports.only != nullptr) {
        if (peer.fqdn_mask != 0) {
          continue; // outside addresses have no named ports
        }
        IdentitySet both = *ports.only;
        if (!peer.anybody) {
          both &= *peer.identities;
        }
        filter.anybody = false;
        filter.identities = std::make_shared<const IdentitySet>(std::move(both));
      }
      if (has_l7) {
        filter.effect = denies ? Effect::kDenyL7 : Effect::kAllowL7;
        filter.l7 = l7_rules(*ports.rule, rule.rule->action, rule.index);
      } else {
        filter.effect = denies ? Effect::kDeny : Effect::kAllow;
      }
      out.push_back(std::move(filter));
      keys.push_back(each_peer ? ports.text + ' ' + peer.key : std::string());
    }
  }
}

} // namespace weir::policy
