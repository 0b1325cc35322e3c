// A rule's L7 part → the matchers that requests are judged by.
#pragma once

#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/l7_rules.h"

#include <map>
#include <memory>
#include <string>

namespace weir::policy {

// `rule` outlives the result. What cannot be compiled matches nothing in an allow rule and
// everything in a deny rule. `secrets`: CompileInput::header_secrets.
[[nodiscard]] std::shared_ptr<L7Rules> lower_l7(const PortRule& ports, Action action,
                                                const RuleRef* rule,
                                                const std::map<std::string, std::string>& secrets);

} // namespace weir::policy
