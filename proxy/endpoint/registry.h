// Who is who: the pods of this node, those known elsewhere, nodes, and the identity behind any
// address. An immutable value; a change of the cluster makes a new one (control thread) that shares
// with the old what did not change. Workers read it through their Snapshot.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/ip.h"
#include "proxy/base/shared_map.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::endpoint {

struct Endpoint {
  policy::EndpointId id = 0; // never another pod's again; 0: policy is not computed for it here
  policy::IdentityId identity = 0;
  std::string endpoint_namespace;
  std::string name;
  // Of its identity, with sources: "k8s:app". Never null.
  std::shared_ptr<const policy::Labels> labels = std::make_shared<const policy::Labels>();
  std::vector<IpAddress> addresses;
  std::string interface; // host side of its veth; empty: remote, or only for static listeners
  bool local = false;    // of this node whatever `interface` says: held while that is empty
  std::vector<policy::NamedPort> named_ports;

  // Of this node: its packets are seen here.
  [[nodiscard]] bool is_local() const { return local || !interface.empty(); }
  // "namespace/name"
  [[nodiscard]] std::string full_name() const { return endpoint_namespace + "/" + name; }
};

using EndpointPtr = std::shared_ptr<const Endpoint>;
using EndpointsByName = SharedMap<std::string, EndpointPtr>;
using EndpointsByAddress = SharedMap<IpAddress, EndpointPtr>;

// Cells of the identity table for addresses that belong to no pod: nodes, CIDRs that policies name.
// The longest match wins; of two with one prefix, the first.
class PrefixTable {
public:
  explicit PrefixTable(std::vector<policy::Program::Prefix> prefixes);

  // Nothing where no prefix contains the address.
  [[nodiscard]] std::optional<policy::IdentityId> identity_of(const IpAddress& address) const;
  [[nodiscard]] const std::vector<policy::Program::Prefix>& prefixes() const { return x_prefixes; }

private:
  std::vector<policy::Program::Prefix> x_prefixes; // as given
  // By mapped prefix length, longest first; few lengths occur, so a look-up is a few hash probes.
  struct Length {
    std::uint8_t mapped_length;
    std::unordered_map<IpAddress, policy::IdentityId> cells;
  };
  std::vector<Length> x_v4_lengths, x_v6_lengths;
};

class Registry {
public:
  Registry(EndpointsByName endpoints, EndpointsByAddress by_address,
           std::shared_ptr<const PrefixTable> prefixes);
  Registry(std::vector<Endpoint> endpoints, std::vector<policy::Program::Prefix> prefixes);

  [[nodiscard]] const EndpointsByName& endpoints() const { return x_endpoints; }
  // Null when there is none. The pointer lives as long as the Registry.
  [[nodiscard]] const Endpoint* by_address(const IpAddress& address) const;
  [[nodiscard]] const Endpoint* by_name(std::string_view full_name) const;
  // Those that policy is computed for here, by their numbers; made anew by each call.
  [[nodiscard]] std::unordered_map<policy::EndpointId, const Endpoint*> by_id() const;
  // A pod's own, else the longest prefix's, else world of the address's family.
  [[nodiscard]] policy::IdentityId identity_of(const IpAddress& address) const;

private:
  EndpointsByName x_endpoints;
  EndpointsByAddress x_by_address;
  std::shared_ptr<const PrefixTable> x_prefixes;
};

} // namespace weir::endpoint
