#include "policy-compiler/sema/conflicts.h"

#include "policy-compiler/sema/port_text.h"

#include <map>
#include <string>
#include <unordered_map>

namespace weir::policy {
namespace {

const char* name_of(L7Kind kind) {
  switch (kind) {
  case L7Kind::kHttp:
    return "http";
  case L7Kind::kDns:
    return "dns";
  case L7Kind::kTls:
    return "serverNames";
  case L7Kind::kNone:
    break;
  }
  return "none";
}

struct Claim {
  L7Kind kind;
  const ResolvedSpec* owner;
};
// Direction, port and peer → who speaks what there.
using Claims = std::unordered_map<std::string, Claim>;

// Each L7 allow of a spec: its rule, port text with direction, and kind.
template <typename Visit>
void for_each_l7(const ResolvedSpec& spec, Visit&& visit) {
  for (const ResolvedRule& resolved : spec.rules) {
    const Rule& rule = *resolved.rule;
    if (rule.action != Action::kAllow || rule.unprovable) {
      continue;
    }
    for (const PortRule& ports : rule.ports) {
      if (ports.l7 == L7Kind::kNone || !ports.unsupported.empty()) {
        continue;
      }
      for (const PortMatch& match : ports.ports) {
        for_each_protocol(match, [&](std::uint8_t protocol) {
          visit(resolved, std::to_string(rule.direction) + ' ' + port_text(match, protocol),
                ports.l7);
        });
      }
    }
  }
}

template <typename Visit>
void for_each_peer(const ResolvedRule& rule, const std::string& ports, Visit&& visit) {
  for (const ResolvedPeer& peer : rule.peers) {
    visit(ports + ' ' + peer.key);
  }
  for (const std::string& name : rule.fqdns) {
    visit(ports + " fqdn " + name);
  }
}

} // namespace

void withdraw_conflicts(std::vector<ResolvedSpec>& specs, const std::set<std::uint32_t>& subjects,
                        Diagnostics& diagnostics) {
  // Most sets of policies speak one protocol on each port: those are done after this look.
  std::map<std::string, std::set<L7Kind>> kinds;
  for (const ResolvedSpec& spec : specs) {
    for_each_l7(spec, [&](const ResolvedRule&, const std::string& ports, L7Kind kind) {
      kinds[ports].insert(kind);
    });
  }
  std::erase_if(kinds, [](const auto& one) { return one.second.size() < 2; });
  if (kinds.empty()) {
    return;
  }

  std::map<std::uint32_t, Claims> claims;
  for (std::size_t begin = 0; begin < specs.size();) {
    std::size_t end = begin;
    while (end < specs.size() && specs[end].policy == specs[begin].policy) {
      ++end;
    }
    std::map<std::uint32_t, Claims> added;
    const ResolvedSpec* other = nullptr;
    std::string message;
    for (std::size_t i = begin; i < end; ++i) {
      for_each_l7(specs[i], [&](const ResolvedRule& rule, const std::string& ports, L7Kind kind) {
        if (!kinds.contains(ports)) {
          return;
        }
        for_each_peer(rule, ports, [&](const std::string& key) {
          for (const std::uint32_t place : subjects) {
            if (!specs[i].subjects->test(place)) {
              continue;
            }
            const auto before = claims[place].find(key);
            const Claim own{kind, &specs[i]};
            const Claim claim = before != claims[place].end()
                                    ? before->second
                                    : added[place].try_emplace(key, own).first->second;
            if (claim.kind != kind && other == nullptr) {
              other = claim.owner;
              message = std::string("`") + name_of(kind) + "` and `" + name_of(claim.kind) +
                        "` for the same peer and port: " + specs[i].policy->policy_namespace + '/' +
                        specs[i].policy->name + " against " + other->policy->policy_namespace +
                        '/' + other->policy->name;
            }
          }
        });
      });
    }
    if (other != nullptr) {
      for (std::size_t i = begin; i < end; ++i) {
        specs[i].withdrawn = true;
      }
      diagnostics.push_back({Severity::kError, specs[begin].policy->location, message,
                             "what the first of them allows is not in force", "l7-conflict"});
    } else {
      for (auto& [place, keys] : added) {
        claims[place].merge(keys);
      }
    }
    begin = end;
  }
}

} // namespace weir::policy
