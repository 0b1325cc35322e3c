// Policies → rules whose peers are sets of identities. Each selector is looked up once, however
// many rules write it. What cannot be resolved is nobody in an allow rule and everybody in a deny
// rule, and a diagnostic says so.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/universe.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::policy {

// One selector of a rule. Rules are compared by `key`: two selectors with the same text are the
// same peer, two with the same members are not.
struct ResolvedPeer {
  std::string key;
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities; // null when anybody
};

struct ResolvedRule {
  const Rule* rule = nullptr;
  std::uint32_t index = 0; // into the program's rule table
  std::vector<ResolvedPeer> peers;
  ResolvedPeer all_peers;         // their union, for when it does not matter which
  bool nobody = true;             // all_peers has no member (FQDNs aside)
  std::vector<std::string> fqdns; // keys of names(), sorted
};

struct ResolvedSpec {
  const Policy* policy = nullptr;
  const Spec* spec = nullptr;
  std::shared_ptr<const IdentitySet> subjects;
  std::vector<ResolvedRule> rules;
  // Its allows are void: the policy was in conflict with another one (sema/conflicts.h).
  bool withdrawn = false;
};

// Every prefix that the policies, groups and services name.
[[nodiscard]] std::set<IpPrefix> named_prefixes(const CompileInput& input);

// What toFQDNs entries are known by. The key of one is its text in lower case.
using FqdnNames = std::map<std::string, NamePattern>;

class Resolver {
public:
  Resolver(const CompileInput& input, const Universe& universe, Diagnostics& diagnostics);

  // In the order of the input. Fills `rules` with a RuleRef for each rule, after those that are
  // there already.
  std::vector<ResolvedSpec> resolve(std::vector<RuleRef>& rules);
  [[nodiscard]] const FqdnNames& names() const { return x_names; }

private:
  using Set = std::shared_ptr<const IdentitySet>;

  ResolvedRule resolve_rule(const Rule& rule);
  void add_groups(const Rule& rule, ResolvedRule& out);
  void add_services(const Rule& rule, ResolvedRule& out);
  void join(ResolvedRule& out) const;
  // Computed once a key.
  template <typename Compute>
  Set remember(const std::string& key, Compute&& compute);
  void unresolved(const Rule& rule, std::string message, ResolvedRule& out);

  const CompileInput& x_input;
  const Universe& x_universe;
  Diagnostics& x_diagnostics;
  std::unordered_map<std::string, Set> x_sets;
  FqdnNames x_names;
};

} // namespace weir::policy
