// Two L7 protocols asked of one peer and port cannot both be spoken. The reference gives up the
// whole endpoint; here the policy that comes second loses what it allows and keeps what it denies,
// and the others stay in force.
#pragma once

#include "policy-compiler/sema/port_text.h"
#include "policy-compiler/sema/resolve.h"

#include <set>
#include <string>
#include <vector>

namespace weir::policy {

// A spec in one compile.
struct SpecInUse {
  ResolvedSpec spec;
  bool withdrawn = false; // its allows are void: the policy was in conflict with another one

  [[nodiscard]] const Policy& policy() const { return *spec.rules->parts->policy; }
};

// Marks specs as withdrawn. `subjects`: places of the identities that policy is computed for.
void withdraw_conflicts(std::vector<SpecInUse>& specs, const std::set<std::uint32_t>& subjects,
                        Diagnostics& diagnostics);

// Each L7 allow of a spec: its rule, port text with direction, and what it asks there.
template <typename Visit>
void for_each_judged_port(const SpecRules& spec, Visit&& visit) {
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
          visit(resolved, std::to_string(rule.direction) + ' ' + port_text(match, protocol), ports);
        });
      }
    }
  }
}

} // namespace weir::policy
