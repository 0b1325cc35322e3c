// Selectors that select nobody, or more than they should.
#include "policy-compiler/lint/cover.h"
#include "policy-compiler/lint/findings.h"
#include "policy-compiler/sema/universe.h"

#include <algorithm>
#include <optional>

namespace weir::policy {
namespace {

// Outside addresses play no part in label selectors.
class NoPrefixes : public PrefixIdentities {
public:
  IdentityId identity_of(const IpPrefix& /*prefix*/) override { return WEIR_IDENTITY_FIRST_PREFIX; }
};

} // namespace

void lint_selectors(const std::vector<LintSpec>& specs, const CompileInput* cluster,
                    Diagnostics& out) {
  NoPrefixes prefixes;
  std::optional<Universe> universe;
  if (cluster != nullptr) {
    universe.emplace(*cluster, std::vector<IpPrefix>{}, prefixes);
  }
  const auto nobody = [&](const LabelSelector& selector) {
    return contradicts_itself(selector) || (universe && universe->select(selector).empty());
  };
  for (const LintSpec& one : specs) {
    const Spec& spec = *one.spec;
    const std::string name = one.policy->policy_namespace + "/" + one.policy->name;
    if (nobody(spec.subject)) {
      out.push_back({Severity::kWarning, spec.location, "the policy " + name + " selects no pod",
                     "compare the labels of its selector with those of the pods",
                     "selects-nobody"});
    }
    const bool everything = spec.subject.all.empty();
    if (everything && (spec.default_deny[WEIR_INGRESS] || spec.default_deny[WEIR_EGRESS])) {
      out.push_back({Severity::kWarning, spec.location,
                     "the cluster-wide policy " + name +
                         " denies by default for every pod, those of the system included",
                     "exclude their namespaces, or set `enableDefaultDeny`", "clusterwide-deny"});
    }
    for (const Rule& rule : spec.rules) {
      if (std::any_of(rule.peers.endpoints.begin(), rule.peers.endpoints.end(), nobody)) {
        out.push_back({Severity::kWarning, rule.location,
                       "a peer of " + name_of(*one.policy, rule) + " selects no pod",
                       "without a namespace label it means pods of the policy's own namespace",
                       "peer-nobody"});
      }
    }
  }
}

} // namespace weir::policy
