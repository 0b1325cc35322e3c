#include "policy-compiler/sema/resolve.h"

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

std::string label_of(const Policy& policy) { return policy.policy_namespace + '/' + policy.name; }

} // namespace

std::set<IpPrefix> named_prefixes(const CompileInput& input) {
  std::set<IpPrefix> out;
  for (const auto& policy : input.policies) {
    if (policy->cidr_group) {
      out.insert(policy->cidr_group->prefixes.begin(), policy->cidr_group->prefixes.end());
    }
    for (const Spec& spec : policy->specs) {
      for (const Rule& rule : spec.rules) {
        for (const CidrPeer& peer : rule.peers.cidrs) {
          out.insert(peer.prefix);
          out.insert(peer.except.begin(), peer.except.end());
        }
        for (const CidrGroupPeer& peer : rule.peers.cidr_groups) {
          out.insert(peer.except.begin(), peer.except.end());
        }
        for (const ServicePeer& peer : rule.peers.services) {
          for (const ServiceInput& service : input.services) {
            if (selects(peer, service)) {
              for (const IpAddress& address : service.backends) {
                out.insert(IpPrefix::host(address));
              }
            }
          }
        }
      }
    }
  }
  return out;
}

Resolver::Resolver(const CompileInput& input, const Universe& universe, Diagnostics& diagnostics)
    : x_input(input), x_universe(universe), x_diagnostics(diagnostics) {}

template <typename Compute>
Resolver::Set Resolver::remember(const std::string& key, Compute&& compute) {
  Set& set = x_sets[key];
  if (set == nullptr) {
    set = std::make_shared<const IdentitySet>(compute());
  }
  return set;
}

void Resolver::unresolved(const Rule& rule, std::string message, ResolvedRule& out) {
  const bool deny = rule.action == Action::kDeny;
  if (deny) {
    out.peers.push_back({"any", true, nullptr});
  }
  x_diagnostics.push_back({Severity::kWarning, rule.location, std::move(message),
                           deny ? "the rule denies everybody" : "it selects nobody", "unresolved"});
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
    const Set set = remember(key, [&] {
      IdentitySet members = x_universe.nobody();
      for (const Policy* group : groups) {
        for (const IpPrefix& prefix : group->cidr_group->prefixes) {
          members |= x_universe.inside(prefix, peer.except);
        }
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
      const Set set = remember(key, [&] {
        IdentitySet members = x_universe.nobody();
        if (!service.selector.empty()) {
          LabelSelector pods;
          for (const auto& [name, value] : service.selector) {
            pods.require("k8s:" + name, Requirement::Op::kIn, {value});
          }
          pods.require("k8s:" + label::kNamespace, Requirement::Op::kIn,
                       {service.service_namespace});
          members |= x_universe.select(pods);
        }
        for (const IpAddress& address : service.backends) {
          members |= x_universe.inside(IpPrefix::host(address), {});
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

ResolvedRule Resolver::resolve_rule(const Rule& rule) {
  ResolvedRule out;
  out.rule = &rule;
  if (rule.peers.anybody) {
    out.peers.push_back({"any", true, nullptr});
  }
  for (const LabelSelector& selector : rule.peers.endpoints) {
    std::string key = selector.text();
    if (selector.all.empty() && !selector.local_cluster) {
      out.peers.push_back({"any", true, nullptr});
      continue;
    }
    const Set set = remember(key, [&] { return x_universe.select(selector); });
    out.peers.push_back({std::move(key), false, set});
  }
  for (const Entity entity : rule.peers.entities) {
    if (entity == Entity::kAll) {
      out.peers.push_back({"any", true, nullptr});
      continue;
    }
    std::string key = "entity " + std::to_string(static_cast<int>(entity));
    const Set set = remember(key, [&] { return x_universe.select(entity); });
    out.peers.push_back({std::move(key), false, set});
  }
  for (const CidrPeer& peer : rule.peers.cidrs) {
    std::string key = cidr_text(peer.prefix, peer.except);
    const Set set = remember(key, [&] { return x_universe.inside(peer.prefix, peer.except); });
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
    x_names.emplace(key, name);
    out.fqdns.push_back(std::move(key));
  }
  std::sort(out.fqdns.begin(), out.fqdns.end());
  out.fqdns.erase(std::unique(out.fqdns.begin(), out.fqdns.end()), out.fqdns.end());
  join(out);
  return out;
}

std::vector<ResolvedSpec> Resolver::resolve(std::vector<RuleRef>& rules) {
  std::vector<ResolvedSpec> out;
  for (const auto& policy : x_input.policies) {
    for (const Spec& spec : policy->specs) {
      if (spec.host_policy) {
        continue;
      }
      ResolvedSpec resolved;
      resolved.policy = policy.get();
      resolved.spec = &spec;
      resolved.subjects = remember("subject " + spec.subject.text(),
                                   [&] { return x_universe.select(spec.subject); });
      for (const Rule& rule : spec.rules) {
        ResolvedRule one = resolve_rule(rule);
        one.index = static_cast<std::uint32_t>(rules.size());
        rules.push_back({policy->kind, policy->policy_namespace, policy->name,
                         policy->location.file, rule.number, rule.section, label_of(*policy)});
        resolved.rules.push_back(std::move(one));
      }
      out.push_back(std::move(resolved));
    }
  }
  return out;
}

} // namespace weir::policy
