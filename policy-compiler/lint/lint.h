// Accidents in policies that are valid: what is written has another effect than its author likely
// meant. Each finding has a place, a hint and a stable code; the codes are listed and explained in
// policy-compiler/README.md. Looks at policies only, and at the cluster where one is given. Never
// changes what is enforced.
#pragma once

#include "policy-compiler/compile.h"

#include <memory>
#include <vector>

namespace weir::policy {

struct LintInput {
  std::vector<std::shared_ptr<const Policy>> policies;
  // Null: nothing is known of pods, and selectors are not tried on them.
  const CompileInput* cluster = nullptr;
};

// In the order of files and places. What the parser told of them is not repeated.
[[nodiscard]] Diagnostics lint(const LintInput& input);

} // namespace weir::policy
