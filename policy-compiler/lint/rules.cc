// Rules that take each other's effect, and rules that need another one.
#include "policy-compiler/lint/cover.h"
#include "policy-compiler/lint/findings.h"

#include <algorithm>
#include <set>
#include <utility>

namespace weir::policy {
namespace {

bool has_l7(const Rule& rule) {
  return std::any_of(rule.ports.begin(), rule.ports.end(), [](const PortRule& ports) {
    return ports.l7 != L7Kind::kNone || !ports.unsupported.empty();
  });
}

// Opens or closes all that it speaks of, whatever is said there.
bool is_plain(const Rule& rule) { return !rule.unprovable && !has_l7(rule); }

bool is_nobody(const Peers& peers) {
  return !peers.anybody && peers.endpoints.empty() && peers.entities.empty() &&
         peers.cidrs.empty() && peers.cidr_groups.empty() && peers.services.empty() &&
         peers.fqdns.empty() && !peers.unresolvable;
}

// A plain allow with the very selector and ports of a serverNames rule does not lift it.
bool spares_server_names(const Rule& plain, const Rule& named, const PortRule& ports) {
  const auto keys = [](const Rule& rule) {
    std::vector<std::string> out;
    for (const LabelSelector& one : rule.peers.endpoints) {
      out.push_back(one.text());
    }
    std::sort(out.begin(), out.end());
    return out;
  };
  return ports.l7 == L7Kind::kTls && plain.peers.anybody == named.peers.anybody &&
         keys(plain) == keys(named) && plain.peers.entities == named.peers.entities &&
         std::any_of(plain.ports.begin(), plain.ports.end(), [&](const PortRule& one) {
           return std::all_of(ports.ports.begin(), ports.ports.end(), [&](const PortMatch& match) {
             return std::any_of(one.ports.begin(), one.ports.end(), [&](const PortMatch& other) {
               return match.name == other.name && match.first == other.first &&
                      match.last == other.last && match.protocol == other.protocol;
             });
           });
         });
}

// DNS rules look at the filter of their very port only.
bool lifts_dns(const Rule& plain, const PortRule& ports) {
  return std::any_of(plain.ports.begin(), plain.ports.end(), [&](const PortRule& one) {
    return std::any_of(one.ports.begin(), one.ports.end(), [&](const PortMatch& match) {
      return match.name.empty() && match.first == match.last &&
             std::any_of(ports.ports.begin(), ports.ports.end(), [&](const PortMatch& other) {
               return other.name.empty() && other.first == match.first && covers(match, other);
             });
    });
  });
}

class Rules {
public:
  Rules(const std::vector<LintSpec>& specs, Diagnostics& out) : x_specs(specs), x_out(out) {}

  void look(const LintSpec& one) {
    // Specs that select all that this one selects.
    std::vector<const LintSpec*> beside;
    for (const LintSpec& other : x_specs) {
      if (other.spec == one.spec || covers(other.spec->subject, one.spec->subject)) {
        beside.push_back(&other);
      }
    }
    for (const Rule& rule : one.spec->rules) {
      look_at_peers(one, rule);
      if (rule.action != Action::kAllow) {
        continue;
      }
      look_at_default_deny(one, rule, beside);
      look_at_names(one, rule, beside);
      for (const LintSpec* other : beside) {
        for (const Rule& wide : other->spec->rules) {
          if (&wide != &rule && wide.direction == rule.direction) {
            look_at_pair(one, rule, *other, wide);
          }
        }
      }
    }
  }

private:
  void tell(Severity severity, Location where, std::string message, std::string hint,
            std::string code) {
    x_out.push_back(
        {severity, std::move(where), std::move(message), std::move(hint), std::move(code)});
  }

  // Many rules may do the same to one; the first is news enough.
  void tell_once(const Rule& rule, Severity severity, std::string message, std::string hint,
                 std::string code) {
    if (x_told.emplace(&rule, code).second) {
      tell(severity, rule.location, std::move(message), std::move(hint), std::move(code));
    }
  }

  void look_at_peers(const LintSpec& one, const Rule& rule) {
    // `ingress: [{}]` is how a default deny is written.
    if (is_nobody(rule.peers) && !rule.every_port) {
      tell(Severity::kWarning, rule.location,
           name_of(*one.policy, rule) + " has an empty list of peers and speaks of nobody",
           "remove the list for anybody, or write `{}` into it", "rule-nobody");
    }
    if (rule.action == Action::kDeny && is_nobody(rule.peers) && rule.every_port) {
      tell(Severity::kWarning, rule.location, name_of(*one.policy, rule) + " denies nobody",
           "it only switches the default deny on; name peers or ports", "rule-nobody");
    }
  }

  void look_at_default_deny(const LintSpec& one, const Rule& rule,
                            const std::vector<const LintSpec*>& beside) {
    const bool some = std::any_of(beside.begin(), beside.end(), [&](const LintSpec* other) {
      return other->spec->default_deny[rule.direction];
    });
    if (!some && has_l7(rule)) {
      tell(Severity::kWarning, rule.location,
           "without a default deny the L7 rules of " + name_of(*one.policy, rule) +
               " restrict nothing",
           "remove `enableDefaultDeny`, or let another policy deny by default",
           "l7-no-default-deny");
    }
  }

  void look_at_names(const LintSpec& one, const Rule& rule,
                     const std::vector<const LintSpec*>& beside) {
    if (rule.peers.fqdns.empty()) {
      return;
    }
    const bool seen = std::any_of(beside.begin(), beside.end(), [](const LintSpec* other) {
      return std::any_of(
          other->spec->rules.begin(), other->spec->rules.end(), [](const Rule& candidate) {
            return candidate.action == Action::kAllow &&
                   std::any_of(candidate.ports.begin(), candidate.ports.end(),
                               [](const PortRule& ports) { return ports.l7 == L7Kind::kDns; });
          });
    });
    if (!seen) {
      tell(Severity::kWarning, rule.location,
           "toFQDNs of " + name_of(*one.policy, rule) +
               " without a DNS rule for the same pods: no address is ever learned",
           "add an egress rule to the resolver with `rules: {dns: [{matchPattern: \"*\"}]}`",
           "fqdn-no-dns");
    }
  }

  void look_at_pair(const LintSpec& one, const Rule& rule, const LintSpec& other,
                    const Rule& wide) {
    if (!is_plain(wide) || !covers(wide.peers, rule.peers)) {
      return;
    }
    const std::string wide_name = name_of(*other.policy, wide);
    if (wide.action == Action::kDeny) {
      if (covers_ports(wide, rule)) {
        tell_once(rule, Severity::kWarning,
                  name_of(*one.policy, rule) + " has no effect: " + wide_name + " denies all of it",
                  "a deny beats every allow", "shadowed");
      }
      return;
    }
    if (!rule.peers.fqdns.empty() && wide.peers.fqdns.empty() && covers_ports(wide, rule)) {
      tell_once(rule, Severity::kWarning,
                "toFQDNs of " + name_of(*one.policy, rule) + " restrict nothing: " + wide_name +
                    " opens the same ports to every address",
                "remove one of them", "fqdn-world");
      return;
    }
    for (const PortRule& ports : rule.ports) {
      const bool moot = ports.l7 != L7Kind::kNone && covers_ports(wide, ports) &&
                        !spares_server_names(wide, rule, ports) &&
                        (ports.l7 != L7Kind::kDns || lifts_dns(wide, ports));
      if (moot) {
        tell(Severity::kWarning, place_in(*one.policy, ports.place),
             "these L7 rules restrict nothing: " + wide_name +
                 " allows the same peers and ports without any",
             "remove one of them", "l7-moot");
      }
    }
    const bool both = covers(rule.peers, wide.peers) && covers_ports(rule, wide);
    if (is_plain(rule) && covers_ports(wide, rule) && (!both || &wide < &rule) &&
        rule.peers.fqdns.empty()) {
      tell_once(rule, Severity::kNote, name_of(*one.policy, rule) + " adds nothing to " + wide_name,
                "remove it", "redundant");
    }
  }

  const std::vector<LintSpec>& x_specs;
  Diagnostics& x_out;
  std::set<std::pair<const Rule*, std::string>> x_told;
};

} // namespace

void lint_rules(const std::vector<LintSpec>& specs, Diagnostics& out) {
  Rules rules(specs, out);
  for (const LintSpec& one : specs) {
    rules.look(one);
  }
}

} // namespace weir::policy
