#include "policy-compiler/sema/resolve.h"

#include "policy-compiler/sema/conflicts.h"

#include <algorithm>
#include <cctype>

namespace weir::policy {
namespace {

// Lower case, without the trailing dot.
std::string name_text(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text.size() > 1 && text.back() == '.') {
    text.pop_back();
  }
  return text;
}

std::string cidr_text(const IpPrefix& prefix, const std::vector<IpPrefix>& excepts) {
  std::string out = "cidr " + prefix.to_string();
  for (const IpPrefix& except : excepts) {
    out += " -" + except.to_string();
  }
  return out;
}

// Plain labels (of services and CIDR groups) against a selector, whatever its keys' sources.
bool selects(const LabelSelector& selector, const std::map<std::string, std::string>& labels) {
  return std::all_of(selector.all.begin(), selector.all.end(), [&](const Requirement& one) {
    const auto found = labels.find(one.key.substr(one.key.find(':') + 1));
    const bool listed = found != labels.end() && std::find(one.values.begin(), one.values.end(),
                                                           found->second) != one.values.end();
    switch (one.op) {
    case Requirement::Op::kIn:
      return listed;
    case Requirement::Op::kNotIn:
      return !listed;
    case Requirement::Op::kExists:
      return found != labels.end();
    case Requirement::Op::kDoesNotExist:
      return found == labels.end();
    }
    return false;
  });
}

bool selects(const ServicePeer& peer, const ServiceInput& service) {
  if (!peer.service_namespace.empty() && peer.service_namespace != service.service_namespace) {
    return false;
  }
  return peer.name.empty() ? selects(peer.selector, service.labels) : peer.name == service.name;
}

std::vector<const Policy*> groups_of(const CompileInput& input, const CidrGroupPeer& peer) {
  std::vector<const Policy*> out;
  for (const auto& policy : input.policies) {
    if (policy->cidr_group &&
        (peer.name.empty() ? selects(peer.selector, policy->cidr_group->labels)
                           : peer.name == policy->name)) {
      out.push_back(policy.get());
    }
  }
  return out;
}

template <typename Asks>
bool any_peers(const Policy& policy, Asks&& asks) {
  return std::any_of(policy.specs.begin(), policy.specs.end(), [&](const Spec& spec) {
    return std::any_of(spec.rules.begin(), spec.rules.end(),
                       [&](const Rule& rule) { return asks(rule.peers); });
  });
}

std::vector<std::pair<std::string, L7Kind>> judged_ports(const SpecRules& rules) {
  std::vector<std::pair<std::string, L7Kind>> out;
  for_each_judged_port(rules, [&](const ResolvedRule&, std::string port, const PortRule& ports) {
    out.emplace_back(std::move(port), ports.l7);
  });
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

bool same_set(const std::shared_ptr<const IdentitySet>& a,
              const std::shared_ptr<const IdentitySet>& b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

bool same_peer(const ResolvedPeer& a, const ResolvedPeer& b) {
  return a.key == b.key && a.anybody == b.anybody && same_set(a.identities, b.identities);
}

// Of the same policy, resolved twice: `all_peers` and `nobody` follow from the peers, the rest from
// the policy.
bool same_rules(const SpecRules& a, const SpecRules& b) {
  return a.parts == b.parts && a.spec == b.spec &&
         std::equal(a.rules.begin(), a.rules.end(), b.rules.begin(), b.rules.end(),
                    [](const ResolvedRule& one, const ResolvedRule& other) {
                      return std::equal(one.peers.begin(), one.peers.end(), other.peers.begin(),
                                        other.peers.end(), same_peer);
                    });
}

std::string label_of(const Policy& policy) { return policy.policy_namespace + '/' + policy.name; }

} // namespace

std::shared_ptr<const PolicyParts> parts_of(std::shared_ptr<const Policy> policy,
                                            const std::vector<std::uint32_t>& numbers) {
  auto out = std::make_shared<PolicyParts>();
  auto number = numbers.begin();
  for (const Spec& spec : policy->specs) {
    auto& rules = out->rules.emplace_back();
    for (const Rule& rule : spec.rules) {
      rules.push_back({policy->kind, policy->policy_namespace, policy->name, policy->location.file,
                       rule.number, rule.section, label_of(*policy), *number++, &rule});
    }
  }
  out->policy = std::move(policy);
  return out;
}

void add_named_prefixes(const Policy& policy, const std::vector<ServiceInput>& services,
                        std::vector<IpPrefix>& out) {
  const auto add = [&out](const std::vector<IpPrefix>& prefixes) {
    out.insert(out.end(), prefixes.begin(), prefixes.end());
  };
  if (policy.cidr_group) {
    add(policy.cidr_group->prefixes);
  }
  for (const Spec& spec : policy.specs) {
    for (const Rule& rule : spec.rules) {
      for (const CidrPeer& peer : rule.peers.cidrs) {
        out.push_back(peer.prefix);
        add(peer.except);
      }
      for (const CidrGroupPeer& peer : rule.peers.cidr_groups) {
        add(peer.except);
      }
      for (const ServicePeer& peer : rule.peers.services) {
        for (const ServiceInput& service : services) {
          if (selects(peer, service)) {
            for (const IpAddress& address : service.backends) {
              out.push_back(IpPrefix::host(address));
            }
          }
        }
      }
    }
  }
}

std::vector<IpPrefix> named_prefixes(const CompileInput& input) {
  std::vector<IpPrefix> out;
  for (const auto& policy : input.policies) {
    add_named_prefixes(*policy, input.services, out);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

bool names_services(const Policy& policy) {
  return any_peers(policy, [](const Peers& peers) { return !peers.services.empty(); });
}

bool names_cidr_groups(const Policy& policy) {
  return any_peers(policy, [](const Peers& peers) { return !peers.cidr_groups.empty(); });
}

bool ResolvedPolicy::up_to_date() const {
  return std::equal(selections.begin(), selections.end(), found.begin(), found.end(),
                    [](const auto& selection, const auto& set) { return selection->set == set; });
}

Resolver::Resolver(const CompileInput& input, const Universe& universe, Selections& selections,
                   std::uint64_t generation)
    : x_input(input), x_universe(universe), x_selections(selections),
      x_generation(std::to_string(generation)) {}

template <typename LookUp>
Resolver::Set Resolver::look_up(const std::string& key, LookUp&& look_up) {
  auto selection = x_selections.find(key, x_universe, std::forward<LookUp>(look_up));
  Set set = selection->set;
  x_out->selections.push_back(std::move(selection));
  x_out->found.push_back(set);
  return set;
}

void Resolver::unresolved(const Rule& rule, std::string message, ResolvedRule& out) {
  const bool deny = rule.action == Action::kDeny;
  if (deny) {
    out.peers.push_back({"any", true, nullptr});
  }
  x_out->diagnostics.push_back({Severity::kWarning, rule.location, std::move(message),
                                deny ? "the rule denies everybody" : "it selects nobody",
                                "unresolved"});
}

void Resolver::add_groups(const Rule& rule, ResolvedRule& out) {
  for (const CidrGroupPeer& peer : rule.peers.cidr_groups) {
    const std::vector<const Policy*> groups = groups_of(x_input, peer);
    if (groups.empty()) {
      unresolved(rule,
                 peer.name.empty() ? "no CIDR group matches the selector"
                                   : "there is no CIDR group `" + peer.name + "`",
                 out);
      continue;
    }
    std::string key = "cidrgroup " + (peer.name.empty() ? peer.selector.text() : peer.name);
    for (const IpPrefix& except : peer.except) {
      key += " -" + except.to_string();
    }
    std::vector<IpPrefix> prefixes;
    for (const Policy* group : groups) {
      prefixes.insert(prefixes.end(), group->cidr_group->prefixes.begin(),
                      group->cidr_group->prefixes.end());
    }
    const Set set =
        look_up(key + " #" + x_generation, [prefixes, except = peer.except](const Universe& all) {
          IdentitySet members = all.nobody();
          for (const IpPrefix& prefix : prefixes) {
            members |= all.inside(prefix, except);
          }
          return members;
        });
    out.peers.push_back({std::move(key), false, set});
  }
}

void Resolver::add_services(const Rule& rule, ResolvedRule& out) {
  for (const ServicePeer& peer : rule.peers.services) {
    bool found = false;
    for (const ServiceInput& service : x_input.services) {
      if (!selects(peer, service)) {
        continue;
      }
      found = true;
      std::string key = "service " + service.service_namespace + '/' + service.name;
      LabelSelector pods;
      for (const auto& [name, value] : service.selector) {
        pods.require("k8s:" + name, Requirement::Op::kIn, {value});
      }
      pods.require("k8s:" + label::kNamespace, Requirement::Op::kIn, {service.service_namespace});
      const Set set =
          look_up(key + " #" + x_generation, [pods, by_label = !service.selector.empty(),
                                              backends = service.backends](const Universe& all) {
            IdentitySet members = by_label ? all.select(pods) : all.nobody();
            for (const IpAddress& address : backends) {
              members |= all.inside(IpPrefix::host(address), {});
            }
            return members;
          });
      out.peers.push_back({std::move(key), false, set});
    }
    if (!found) {
      unresolved(rule,
                 peer.name.empty() ? "no service matches the selector"
                                   : "there is no service `" + peer.name + "`",
                 out);
    }
  }
}

void Resolver::join(ResolvedRule& out) const {
  IdentitySet members = x_universe.nobody();
  for (const ResolvedPeer& peer : out.peers) {
    out.all_peers.key += peer.key + ';';
    if (peer.anybody) {
      out.all_peers.anybody = true;
    } else {
      members |= *peer.identities;
    }
  }
  out.nobody = !out.all_peers.anybody && members.empty();
  if (!out.all_peers.anybody) {
    out.all_peers.identities = out.peers.size() == 1
                                   ? out.peers.front().identities
                                   : std::make_shared<const IdentitySet>(std::move(members));
  }
}

ResolvedRule Resolver::resolve_rule(const Rule& rule, const RuleRef& ref) {
  ResolvedRule out;
  out.rule = &rule;
  out.ref = &ref;
  if (rule.peers.anybody) {
    out.peers.push_back({"any", true, nullptr});
  }
  for (const LabelSelector& selector : rule.peers.endpoints) {
    std::string key = selector.text();
    if (selector.all.empty() && !selector.local_cluster) {
      out.peers.push_back({"any", true, nullptr});
      continue;
    }
    const Set set = look_up(key, [selector](const Universe& all) { return all.select(selector); });
    out.peers.push_back({std::move(key), false, set});
  }
  for (const Entity entity : rule.peers.entities) {
    if (entity == Entity::kAll) {
      out.peers.push_back({"any", true, nullptr});
      continue;
    }
    std::string key = "entity " + std::to_string(static_cast<int>(entity));
    const Set set = look_up(key, [entity](const Universe& all) { return all.select(entity); });
    out.peers.push_back({std::move(key), false, set});
  }
  for (const CidrPeer& peer : rule.peers.cidrs) {
    std::string key = cidr_text(peer.prefix, peer.except);
    const Set set =
        look_up(key, [peer](const Universe& all) { return all.inside(peer.prefix, peer.except); });
    out.peers.push_back({std::move(key), false, set});
  }
  add_groups(rule, out);
  add_services(rule, out);
  if (rule.peers.unresolvable && rule.action == Action::kDeny) {
    out.peers.push_back({"any", true, nullptr});
  }
  for (const NamePattern& name : rule.peers.fqdns) {
    if (name.match_name.empty() && name.match_pattern.empty()) {
      continue;
    }
    std::string key = name.match_name.empty() ? "pattern " + name_text(name.match_pattern)
                                              : "name " + name_text(name.match_name);
    out.names.push_back({std::move(key), &name});
  }
  std::sort(out.names.begin(), out.names.end());
  out.names.erase(std::unique(out.names.begin(), out.names.end()), out.names.end());
  join(out);
  return out;
}

ResolvedPolicy Resolver::resolve(const std::shared_ptr<const PolicyParts>& parts,
                                 const ResolvedPolicy& before) {
  ResolvedPolicy out;
  x_out = &out;
  const Policy& policy = *parts->policy;
  for (std::size_t i = 0; i < policy.specs.size(); ++i) {
    const Spec& spec = policy.specs[i];
    if (spec.host_policy) {
      continue;
    }
    ResolvedSpec resolved;
    resolved.subjects =
        look_up("subject " + spec.subject.text(),
                [subject = spec.subject](const Universe& all) { return all.select(subject); });
    auto rules = std::make_shared<SpecRules>();
    rules->parts = parts;
    rules->spec = &spec;
    for (std::size_t n = 0; n < spec.rules.size(); ++n) {
      rules->rules.push_back(resolve_rule(spec.rules[n], parts->rules[i][n]));
    }
    rules->judged_ports = judged_ports(*rules);
    const std::size_t place = out.specs.size();
    const bool same = place < before.specs.size() && same_rules(*rules, *before.specs[place].rules);
    resolved.rules = same ? before.specs[place].rules : std::move(rules);
    out.specs.push_back(std::move(resolved));
  }
  x_out = nullptr;
  return out;
}

} // namespace weir::policy
