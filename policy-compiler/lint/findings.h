// The single looks that lint() takes. Each appends what it finds.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"

#include <string>
#include <vector>

namespace weir::policy {

// One spec with the policy that it is of.
struct LintSpec {
  const Policy* policy = nullptr;
  const Spec* spec = nullptr;
};

[[nodiscard]] Location place_in(const Policy& policy, const Place& place);
// "shop/api ingress rule 2"
[[nodiscard]] std::string name_of(const Policy& policy, const Rule& rule);

// --- requests.cc: paths, methods, hosts, names
void lint_requests(const LintSpec& one, Diagnostics& out);
// --- rules.cc: rules that take each other's effect
void lint_rules(const std::vector<LintSpec>& specs, Diagnostics& out);
// --- selectors.cc: who is selected
void lint_selectors(const std::vector<LintSpec>& specs, const CompileInput* cluster,
                    Diagnostics& out);

} // namespace weir::policy
