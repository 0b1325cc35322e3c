#include "policy-compiler/lint/lint.h"

#include "policy-compiler/lint/findings.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace weir::policy {
namespace {

void lint_names(const LintInput& input, Diagnostics& out) {
  std::map<std::tuple<std::string, std::string, std::string>, const Policy*> known;
  for (const auto& policy : input.policies) {
    const auto [first, is_new] =
        known.try_emplace({policy->kind, policy->policy_namespace, policy->name}, policy.get());
    if (!is_new) {
      const Location& other = first->second->location;
      out.push_back({Severity::kWarning, policy->location,
                     "there is another " + policy->kind + " `" + policy->policy_namespace + "/" +
                         policy->name + "` at " + other.file + ":" + std::to_string(other.line),
                     "both are in force here; in a cluster one would replace the other",
                     "duplicate-policy"});
    }
  }
}

} // namespace

Location place_in(const Policy& policy, const Place& place) {
  return {policy.location.file, place.line, place.column};
}

std::string name_of(const Policy& policy, const Rule& rule) {
  return policy.policy_namespace + "/" + policy.name + " " + rule.section + " rule " +
         std::to_string(rule.number);
}

Diagnostics lint(const LintInput& input) {
  Diagnostics out;
  std::vector<LintSpec> specs;
  for (const auto& policy : input.policies) {
    for (const Spec& spec : policy->specs) {
      if (!spec.host_policy) {
        specs.push_back({policy.get(), &spec});
      }
    }
  }
  lint_names(input, out);
  for (const LintSpec& one : specs) {
    lint_requests(one, out);
  }
  lint_rules(specs, out);
  lint_selectors(specs, input.cluster, out);
  std::stable_sort(out.begin(), out.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return a.location < b.location;
  });
  return out;
}

} // namespace weir::policy
