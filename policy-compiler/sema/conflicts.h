// Two L7 protocols asked of one peer and port cannot both be spoken. The reference gives up the
// whole endpoint; here the policy that comes second loses what it allows and keeps what it denies,
// and the others stay in force.
#pragma once

#include "policy-compiler/sema/resolve.h"

#include <set>
#include <vector>

namespace weir::policy {

// Marks specs as withdrawn. `subjects`: places of the identities that policy is computed for.
void withdraw_conflicts(std::vector<ResolvedSpec>& specs, const std::set<std::uint32_t>& subjects,
                        Diagnostics& diagnostics);

} // namespace weir::policy
