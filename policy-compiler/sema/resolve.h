// Policies → rules whose peers are sets of identities. What cannot be resolved is nobody in an
// allow rule and everybody in a deny rule, and a diagnostic says so.
//
// The result for one policy depends on it, on the sets that its selectors found, and, where it
// names services or CIDR groups, on these; while none of that changes it stays the same object.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/rule_numbers.h"
#include "policy-compiler/sema/selections.h"
#include "policy-compiler/sema/universe.h"

#include <memory>
#include <string>
#include <vector>

namespace weir::policy {

// A policy and its rules as people know them. Immutable; whatever a Program knows of the policy
// points in here.
struct PolicyParts {
  std::shared_ptr<const Policy> policy;
  std::vector<std::vector<RuleRef>> rules; // of each spec
};
[[nodiscard]] std::shared_ptr<const PolicyParts>
parts_of(std::shared_ptr<const Policy> policy, const std::vector<std::uint32_t>& numbers);

// One selector of a rule. Rules are compared by `key`: two selectors with the same text are the
// same peer, two with the same members are not.
struct ResolvedPeer {
  std::string key;
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities; // null when anybody
};

// What a toFQDNs entry is known by: its text in lower case.
struct ResolvedName {
  std::string key;
  const NamePattern* pattern = nullptr;

  friend bool operator==(const ResolvedName& a, const ResolvedName& b) { return a.key == b.key; }
  friend auto operator<=>(const ResolvedName& a, const ResolvedName& b) { return a.key <=> b.key; }
};

struct ResolvedRule {
  const Rule* rule = nullptr;
  const RuleRef* ref = nullptr;
  std::vector<ResolvedPeer> peers;
  ResolvedPeer all_peers;          // their union, for when it does not matter which
  bool nobody = true;              // all_peers has no member (FQDNs aside)
  std::vector<ResolvedName> names; // sorted
};

struct SpecRules {
  std::shared_ptr<const PolicyParts> parts;
  const Spec* spec = nullptr;
  std::vector<ResolvedRule> rules;
  // Ports and protocols that some rule wants judged, as "direction protocol/port" (conflicts.h).
  std::vector<std::pair<std::string, L7Kind>> judged_ports;
};

struct ResolvedSpec {
  std::shared_ptr<const IdentitySet> subjects;
  std::shared_ptr<const SpecRules> rules;
};

struct ResolvedPolicy {
  std::vector<ResolvedSpec> specs; // none of nodes
  Diagnostics diagnostics;
  std::vector<std::shared_ptr<const Selection>> selections; // that it was made from
  std::vector<std::shared_ptr<const IdentitySet>> found;    // by them, then

  // Do its selectors find the same as then?
  [[nodiscard]] bool up_to_date() const;
};

// Every prefix that the policy names, by itself or through a service, in no order.
void add_named_prefixes(const Policy& policy, const std::vector<ServiceInput>& services,
                        std::vector<IpPrefix>& out);
// Of all of the input's policies: sorted, each once.
[[nodiscard]] std::vector<IpPrefix> named_prefixes(const CompileInput& input);

[[nodiscard]] bool names_services(const Policy& policy);
[[nodiscard]] bool names_cidr_groups(const Policy& policy);

class Resolver {
public:
  // `generation` tells other services and CIDR groups from those of an earlier compile. All
  // arguments outlive it.
  Resolver(const CompileInput& input, const Universe& universe, Selections& selections,
           std::uint64_t generation);

  // `before`: of the same policy, or empty; what of it is still right is taken over.
  [[nodiscard]] ResolvedPolicy resolve(const std::shared_ptr<const PolicyParts>& parts,
                                       const ResolvedPolicy& before);

private:
  using Set = std::shared_ptr<const IdentitySet>;

  ResolvedRule resolve_rule(const Rule& rule, const RuleRef& ref);
  void add_groups(const Rule& rule, ResolvedRule& out);
  void add_services(const Rule& rule, ResolvedRule& out);
  void join(ResolvedRule& out) const;
  template <typename LookUp>
  Set look_up(const std::string& key, LookUp&& look_up);
  void unresolved(const Rule& rule, std::string message, ResolvedRule& out);

  const CompileInput& x_input;
  const Universe& x_universe;
  Selections& x_selections;
  std::string x_generation;
  ResolvedPolicy* x_out = nullptr; // being made
};

} // namespace weir::policy
