// Port matches → numbers. Named ports are resolved here: at ingress from the endpoint's own, at
// egress from each peer's, so that one name may be several numbers, each for some peers only.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/universe.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::policy {

struct PortFilter {
  std::uint8_t protocol = 0; // 0: every protocol and port
  std::uint16_t first = 0;
  std::uint16_t last = 0xffff;
  bool exact = false;                      // one port, written as a number
  const PortRule* rule = nullptr;          // null: of no toPorts entry
  std::string text;                        // as written: what filters are compared by
  std::shared_ptr<const IdentitySet> only; // egress to a named port: peers that have it
};

// Name and protocol → number → who has it. Of all pods.
class PeerPorts {
public:
  PeerPorts(const CompileInput& input, const Universe& universe);

  using Numbers = std::map<std::uint16_t, std::shared_ptr<const IdentitySet>>;
  [[nodiscard]] const Numbers* find(const std::string& name, std::uint8_t protocol) const;

private:
  std::map<std::pair<std::string, std::uint8_t>, Numbers> x_ports;
};

[[nodiscard]] std::vector<PortFilter>
lower_ports(const Rule& rule, const std::vector<NamedPort>& own_ports, const PeerPorts& peer_ports);

// Power-of-two blocks that together are first..last: base and number of leading bits that count.
[[nodiscard]] std::vector<std::pair<std::uint16_t, unsigned>> port_blocks(std::uint16_t first,
                                                                          std::uint16_t last);

} // namespace weir::policy
