// One endpoint's policy: which specs select it, what they say in each direction as Filters, and
// what everybody gets besides (default deny, the node's own access). Endpoints of one identity
// share the result as long as their named ports and FQDN bits agree, and so do compiles: it is made
// anew when other specs select the identity, or theirs say something else.
//
// Control thread.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/lower/ports.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/conflicts.h"
#include "policy-compiler/sema/universe.h"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::policy {

class EndpointLowering {
public:
  // What one compile brings. All of it outlives the calls that are given it.
  struct Context {
    const CompileInput& input;
    const Universe& universe;
    const std::vector<SpecInUse>& specs;
    const PeerPorts& peer_ports;
    FqdnGroupBits& bits;
    Diagnostics& diagnostics;
  };

  // `moved`: peers' named ports may lead elsewhere than in the last compile.
  void begin(bool moved);
  [[nodiscard]] std::shared_ptr<const LoweredEndpoint> lower(const EndpointInput& endpoint,
                                                             const Context& context);
  // Forgets what the compile did not need.
  void end();

private:
  // FQDN selectors that the same rules name are one group: they open the same things.
  struct FqdnGroup {
    std::string content; // what the bit is allotted by
    std::vector<ResolvedName> names;
    bool denies = false;
  };
  struct SelectedSpec {
    std::shared_ptr<const SpecRules> rules;
    bool withdrawn = false;

    friend bool operator==(const SelectedSpec&, const SelectedSpec&) = default;
  };
  // What depends on the identity alone.
  struct Selected {
    std::vector<SelectedSpec> specs;
    std::vector<FqdnGroup> groups;
    std::map<const ResolvedRule*, std::vector<std::size_t>> groups_of_rule;
    bool names_peer_ports = false;
  };
  struct Built {
    std::shared_ptr<const LoweredEndpoint> endpoint;
    std::uint64_t needed_in = 0; // the last compile that asked for it
  };
  struct Known {
    Selected selected;
    std::map<std::string, Built> built; // by named ports and FQDN bits
    std::uint64_t needed_in = 0;
  };
  struct KnownL7 {
    std::shared_ptr<const L7Rules> rules;
    std::weak_ptr<const PolicyParts> parts; // that it points into
  };
  // A group's bit as a mask; 0: none was left.
  using Masks = std::vector<std::uint64_t>;
  struct Peer; // of a filter about to be made
  struct Job;  // one endpoint being lowered

  Known& known(IdentityId identity, const Context& context);
  static void group_fqdns(Selected& selected);
  static Masks allot(const EndpointInput& endpoint, const Selected& selected,
                     const Context& context);
  static bool observes_dns(const Job& job);
  std::shared_ptr<const LoweredEndpoint> build(const Job& job);
  void add_unaudited(const Job& job, LoweredEndpoint& out);
  void lower_direction(std::uint8_t direction, const Job& job, LoweredEndpoint& out);
  void lower_rule(const ResolvedRule& rule, const SelectedSpec& spec, bool each_peer, bool pass_all,
                  const Job& job, std::vector<Filter>& out, std::vector<std::string>& keys);
  static std::vector<Peer> peers_of(const ResolvedRule& rule, bool each_peer, const Job& job);
  std::shared_ptr<const L7Rules> l7_rules(const PortRule& ports, const ResolvedRule& rule,
                                          const SelectedSpec& spec, const Job& job,
                                          std::uint64_t bound_to);

  std::uint64_t x_compiles = 0;
  bool x_moved = false;
  std::unordered_map<IdentityId, Known> x_known;
  std::map<std::pair<const PortRule*, std::uint64_t>, KnownL7> x_l7; // by L7Rules::bound_to, too
};

} // namespace weir::policy
