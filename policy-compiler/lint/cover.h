// Does one part of a policy speak of all that another part speaks of? Decided by what is written,
// without a cluster: "yes" is certain, "no" may only mean that it cannot be told.
#pragma once

#include "policy-compiler/model/policy.h"

namespace weir::policy {

// All that `narrow` selects, `wide` selects.
[[nodiscard]] bool covers(const LabelSelector& wide, const LabelSelector& narrow);
// False for a `narrow` that is nobody.
[[nodiscard]] bool covers(const Peers& wide, const Peers& narrow);
[[nodiscard]] bool covers(const PortMatch& wide, const PortMatch& narrow);
// Every port that the entry names is one that the rule speaks of, L7 rules or not.
[[nodiscard]] bool covers_ports(const Rule& wide, const PortRule& narrow);
[[nodiscard]] bool covers_ports(const Rule& wide, const Rule& narrow);
// No label set can meet all requirements.
[[nodiscard]] bool contradicts_itself(const LabelSelector& selector);

} // namespace weir::policy
