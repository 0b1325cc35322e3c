#include "policy-compiler/lower/endpoint.h"

#include "policy-compiler/lower/l4.h"
#include "policy-compiler/lower/l7.h"

#include <algorithm>
#include <unordered_set>

namespace weir::policy {

using Effect = Filter::Effect;

struct EndpointLowering::Peer {
  std::string key;
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities;
  std::uint64_t fqdn_mask = 0;
};

struct EndpointLowering::Job {
  const EndpointInput& endpoint;
  const Selected& selected;
  const Masks& masks;
  const Context& context;
};

namespace {

bool named_at_egress(const Rule& rule) {
  return rule.direction == WEIR_EGRESS &&
         std::any_of(rule.ports.begin(), rule.ports.end(), [](const PortRule& ports) {
           return std::any_of(ports.ports.begin(), ports.ports.end(),
                              [](const PortMatch& match) { return !match.name.empty(); });
         });
}

} // namespace

void EndpointLowering::begin(bool moved) {
  ++x_compiles;
  x_moved = moved;
}

void EndpointLowering::end() {
  std::erase_if(x_known, [&](const auto& one) { return one.second.needed_in != x_compiles; });
  for (auto& [identity, known] : x_known) {
    std::erase_if(known.built, [&](const auto& one) { return one.second.needed_in != x_compiles; });
  }
  std::erase_if(x_l7, [](const auto& one) { return one.second.parts.expired(); });
}

std::shared_ptr<const L7Rules> EndpointLowering::l7_rules(const PortRule& ports,
                                                          const ResolvedRule& rule,
                                                          const SelectedSpec& spec, const Job& job,
                                                          std::uint64_t bound_to) {
  KnownL7& known = x_l7[{&ports, bound_to}];
  // Another policy's may have stood at this address.
  if (known.rules == nullptr || known.parts.lock() != spec.rules->parts) {
    auto rules = lower_l7(ports, rule.rule->action, rule.ref, job.context.input.header_secrets);
    rules->bound_to = bound_to;
    known = {std::move(rules), spec.rules->parts};
  }
  return known.rules;
}

EndpointLowering::Known& EndpointLowering::known(IdentityId identity, const Context& context) {
  Known& known = x_known[identity];
  if (known.needed_in == x_compiles) {
    return known;
  }
  known.needed_in = x_compiles;
  std::vector<SelectedSpec> specs;
  const std::uint32_t place = context.universe.table()->at(identity);
  for (const SpecInUse& one : context.specs) {
    if (one.spec.subjects->test(place)) {
      specs.push_back({one.spec.rules, one.withdrawn});
    }
  }
  if (specs != known.selected.specs) {
    known.selected = {};
    known.selected.specs = std::move(specs);
    group_fqdns(known.selected);
    known.built.clear();
  } else if (x_moved && known.selected.names_peer_ports) {
    known.built.clear();
  }
  return known;
}

void EndpointLowering::group_fqdns(Selected& selected) {
  std::map<ResolvedName, std::vector<const ResolvedRule*>> rules_of_name;
  std::unordered_set<const ResolvedRule*> denying;
  for (const SelectedSpec& spec : selected.specs) {
    for (const ResolvedRule& rule : spec.rules->rules) {
      for (const ResolvedName& name : rule.names) {
        rules_of_name[name].push_back(&rule);
      }
      if (rule.rule->action == Action::kDeny) {
        denying.insert(&rule);
      }
      selected.names_peer_ports = selected.names_peer_ports || named_at_egress(*rule.rule);
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
    group.content += name.key + '\n';
  }
}

EndpointLowering::Masks EndpointLowering::allot(const EndpointInput& endpoint,
                                                const Selected& selected, const Context& context) {
  Masks masks(selected.groups.size());
  // Denials first: what gets no bit allows nothing, but would have to deny everybody.
  for (const bool denies : {true, false}) {
    for (std::size_t i = 0; i < selected.groups.size(); ++i) {
      if (selected.groups[i].denies != denies) {
        continue;
      }
      if (const auto bit = context.bits.bit_of(endpoint.id, selected.groups[i].content);
          bit && *bit < 64) {
        masks[i] = std::uint64_t{1} << *bit;
        continue;
      }
      context.diagnostics.push_back(
          {Severity::kWarning,
           {},
           "more than 64 groups of toFQDNs for " + endpoint.endpoint_namespace + '/' +
               endpoint.name + ": `" + selected.groups[i].names.front().key +
               "` and what goes with it " + (denies ? "denies everybody" : "allows nobody"),
           "put names that open the same ports into one rule",
           "fqdn-groups"});
    }
  }
  return masks;
}

std::shared_ptr<const LoweredEndpoint> EndpointLowering::lower(const EndpointInput& endpoint,
                                                               const Context& context) {
  Known& chosen = known(endpoint.identity, context);
  const Masks masks = allot(endpoint, chosen.selected, context);
  std::string key;
  for (const NamedPort& port : endpoint.named_ports) {
    key += ' ' + port.name + '=' + std::to_string(port.port) + '/' + std::to_string(port.protocol);
  }
  for (const std::uint64_t mask : masks) {
    key += ' ' + std::to_string(mask);
  }
  Built& built = chosen.built[key];
  built.needed_in = x_compiles;
  if (built.endpoint == nullptr) {
    built.endpoint = build({endpoint, chosen.selected, masks, context});
  }
  return built.endpoint;
}

bool EndpointLowering::observes_dns(const Job& job) {
  return job.context.input.options.observe_dns && !job.selected.groups.empty();
}

std::shared_ptr<const LoweredEndpoint> EndpointLowering::build(const Job& job) {
  auto out = std::make_shared<LoweredEndpoint>();
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    lower_direction(direction, job, *out);
  }
  for (std::size_t i = 0; i < job.masks.size(); ++i) {
    for (const ResolvedName& one : job.selected.groups[i].names) {
      const NamePattern& name = *one.pattern;
      const bool literal = !name.match_name.empty();
      NameMatcher matcher = literal ? NameMatcher::literal(name.match_name)
                                    : NameMatcher::pattern(name.match_pattern);
      if (matcher.is_literal()) {
        out->fqdn_names[matcher.name()] |= job.masks[i];
      } else {
        out->fqdn_patterns.push_back({std::move(matcher), job.masks[i]});
      }
    }
  }
  for (const SelectedSpec& spec : job.selected.specs) {
    out->holds.push_back(spec.rules->parts);
  }
  out->kernel_rows = lower_rows(*out, job.context.universe, observes_dns(job));
  if (std::any_of(job.selected.specs.begin(), job.selected.specs.end(),
                  [](const SelectedSpec& spec) { return spec.rules->parts->policy->audit; })) {
    add_unaudited(job, *out);
  }
  return out;
}

// The names and their groups are the same with and without. What the rules live in is held by the
// endpoint itself.
void EndpointLowering::add_unaudited(const Job& job, LoweredEndpoint& out) {
  Selected rest = job.selected;
  std::erase_if(rest.specs,
                [](const SelectedSpec& spec) { return spec.rules->parts->policy->audit; });
  const Job without_audited{job.endpoint, rest, job.masks, job.context};
  auto without = std::make_shared<LoweredEndpoint>();
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    lower_direction(direction, without_audited, *without);
  }
  const auto rows = lower_unaudited_rows(*without, job.context.universe, observes_dns(job));
  out.kernel_rows.insert(out.kernel_rows.end(), rows.begin(), rows.end());
  out.unaudited = std::move(without);
}

void EndpointLowering::lower_direction(std::uint8_t direction, const Job& job,
                                       LoweredEndpoint& out) {
  const CompileOptions& options = job.context.input.options;
  const Universe& universe = job.context.universe;
  if (options.mode == EnforcementMode::kNever) {
    return;
  }
  // A pod without labels yet is enforced whatever the mode says.
  const bool always =
      options.mode == EnforcementMode::kAlways || job.endpoint.identity == WEIR_IDENTITY_INIT;
  bool some_policy = false;
  bool default_deny = always;
  bool each_peer = false; // server names: it matters by which selector a peer is meant
  for (const SelectedSpec& spec : job.selected.specs) {
    some_policy = some_policy || spec.rules->spec->has[direction];
    default_deny = default_deny || spec.rules->spec->default_deny[direction];
    for (const ResolvedRule& rule : spec.rules->rules) {
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
  for (const SelectedSpec& spec : job.selected.specs) {
    for (const ResolvedRule& rule : spec.rules->rules) {
      if (rule.rule->direction != direction ||
          (spec.withdrawn && rule.rule->action == Action::kAllow)) {
        continue;
      }
      lower_rule(rule, spec, each_peer, !default_deny, job, filters, keys);
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

  if (direction == WEIR_INGRESS && options.allow_localhost) {
    Filter localhost;
    localhost.rule = &built_in_rule(kRuleLocalhost);
    auto host = std::make_shared<IdentitySet>(universe.nobody());
    host->set(universe.table()->at(WEIR_IDENTITY_HOST));
    localhost.identities = std::move(host);
    filters.push_back(std::move(localhost));
  }
  if (!default_deny) {
    Filter everybody;
    everybody.rule = &built_in_rule(kRuleDefaultAllow);
    everybody.anybody = true;
    filters.push_back(std::move(everybody));
  }
}

std::vector<EndpointLowering::Peer> EndpointLowering::peers_of(const ResolvedRule& rule,
                                                               bool each_peer, const Job& job) {
  const Selected& selected = job.selected;
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
      if (const std::uint64_t mask = job.masks[group]; mask != 0) {
        out.push_back({"fqdn " + selected.groups[group].content, false, nullptr, mask});
      } else if (denies) {
        out.push_back({"any", true, nullptr, 0});
      }
    }
  }
  return out;
}

void EndpointLowering::lower_rule(const ResolvedRule& rule, const SelectedSpec& spec,
                                  bool each_peer, bool pass_all, const Job& job,
                                  std::vector<Filter>& out, std::vector<std::string>& keys) {
  const bool denies = rule.rule->action == Action::kDeny;
  if (rule.rule->action == Action::kPass || (rule.rule->unprovable && !denies)) {
    return;
  }
  const std::vector<Peer> peers = peers_of(rule, each_peer, job);
  if (peers.empty()) {
    return;
  }
  for (const PortFilter& ports :
       lower_ports(*rule.rule, job.endpoint.named_ports, job.context.peer_ports)) {
    const bool unsupported = ports.rule != nullptr && !ports.rule->unsupported.empty();
    if (unsupported && !denies) {
      continue;
    }
    const bool has_l7 = ports.rule != nullptr && ports.rule->l7 != L7Kind::kNone && !unsupported;
    for (const Peer& peer : peers) {
      Filter filter;
      filter.rule = rule.ref;
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
        filter.l7 =
            l7_rules(*ports.rule, rule, spec, job, rule.rule->binds_names ? peer.fqdn_mask : 0);
      } else {
        filter.effect = denies ? Effect::kDeny : Effect::kAllow;
      }
      out.push_back(std::move(filter));
      keys.push_back(each_peer ? ports.text + ' ' + peer.key : std::string());
    }
  }
}

} // namespace weir::policy
