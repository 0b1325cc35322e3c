// One endpoint's policy: which specs select it, what they say in each direction as Filters, and
// what everybody gets besides (default deny, the node's own access). Endpoints of one identity
// share the result as long as their named ports and FQDN bits agree.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/lower/ports.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/resolve.h"
#include "policy-compiler/sema/universe.h"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::policy {

// Entries of the rule table that no policy wrote.
inline constexpr std::uint32_t kRuleDefaultDeny = 0;
inline constexpr std::uint32_t kRuleLocalhost = 1;
inline constexpr std::uint32_t kRuleDefaultAllow = 2;
[[nodiscard]] std::vector<RuleRef> built_in_rules();

class EndpointLowering {
public:
  // All arguments outlive it. `rules` is complete: L7 matchers keep references into it.
  EndpointLowering(const CompileInput& input, const Universe& universe,
                   const std::vector<ResolvedSpec>& specs, const FqdnNames& names,
                   std::shared_ptr<const std::vector<RuleRef>> rules, FqdnGroupBits& bits,
                   Diagnostics& diagnostics);

  [[nodiscard]] std::shared_ptr<const CompiledEndpoint> lower(const EndpointInput& endpoint);
  // The matchers that the endpoints refer to.
  [[nodiscard]] std::vector<std::unique_ptr<const L7Rules>> take_l7_rules();

private:
  // FQDN selectors that the same rules name are one group: they open the same things.
  struct FqdnGroup {
    std::string content; // what the bit is allotted by
    std::vector<std::string> names;
    bool denies = false;
  };
  // What depends on the identity alone.
  struct Selected {
    std::vector<const ResolvedSpec*> specs;
    std::vector<FqdnGroup> groups;
    std::map<const ResolvedRule*, std::vector<std::size_t>> groups_of_rule;
  };
  // A group's bit as a mask; 0: none was left.
  using Masks = std::vector<std::uint64_t>;
  struct Peer; // of a filter about to be made

  const Selected& selected(IdentityId identity);
  void group_fqdns(Selected& selected) const;
  Masks allot(const EndpointInput& endpoint, const Selected& selected);
  std::shared_ptr<const CompiledEndpoint> build(const EndpointInput& endpoint,
                                                const Selected& selected, const Masks& masks);
  void add_unaudited(const EndpointInput& endpoint, const Selected& selected, const Masks& masks,
                     CompiledEndpoint& out);
  void lower_direction(std::uint8_t direction, const EndpointInput& endpoint,
                       const Selected& selected, const Masks& masks, CompiledEndpoint& out);
  void lower_rule(const ResolvedRule& rule, const std::vector<NamedPort>& own_ports, bool each_peer,
                  const Selected& selected, const Masks& masks, bool pass_all,
                  std::vector<Filter>& out, std::vector<std::string>& keys);
  std::vector<Peer> peers_of(const ResolvedRule& rule, bool each_peer, const Selected& selected,
                             const Masks& masks) const;
  const L7Rules* l7_rules(const PortRule& ports, Action action, std::uint32_t rule);

  const CompileInput& x_input;
  const Universe& x_universe;
  const std::vector<ResolvedSpec>& x_specs;
  const FqdnNames& x_names;
  std::shared_ptr<const std::vector<RuleRef>> x_rules;
  FqdnGroupBits& x_bits;
  Diagnostics& x_diagnostics;
  PeerPorts x_peer_ports;
  std::unordered_map<IdentityId, Selected> x_selected;
  std::map<std::string, std::shared_ptr<const CompiledEndpoint>> x_built;
  std::unordered_map<const PortRule*, std::unique_ptr<const L7Rules>> x_l7;
};

} // namespace weir::policy
