// Who is who: the pods of this node, those known elsewhere, nodes, and the identity behind any
// address. An immutable value; a change of the cluster makes a new one (control thread), workers
// read it through their Snapshot.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/ip.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::endpoint {

struct Endpoint {
  policy::EndpointId id = 0; // never 0, never given to another pod again
  policy::IdentityId identity = 0;
  std::string endpoint_namespace;
  std::string name;
  policy::Labels labels; // of its identity, with sources: "k8s:app"
  std::vector<IpAddress> addresses;
  std::string interface; // host side of its veth; empty: remote, or only for static listeners
  bool local = false;    // of this node whatever `interface` says: held while that is empty
  std::vector<policy::NamedPort> named_ports;

  // Of this node: its packets are seen here.
  [[nodiscard]] bool is_local() const { return local || !interface.empty(); }
  // "namespace/name"
  [[nodiscard]] std::string full_name() const { return endpoint_namespace + "/" + name; }
};

class Registry {
public:
  // Prefixes: cells of the identity table for addresses that belong to no pod (nodes, CIDRs that
  // policies name). The longest match wins.
  Registry(std::vector<Endpoint> endpoints, std::vector<policy::Program::Prefix> prefixes);

  [[nodiscard]] const std::vector<Endpoint>& endpoints() const { return x_endpoints; }
  // Null when there is none. The pointer lives as long as the Registry.
  [[nodiscard]] const Endpoint* by_address(const IpAddress& address) const;
  [[nodiscard]] const Endpoint* by_name(std::string_view full_name) const;
  [[nodiscard]] const Endpoint* by_id(policy::EndpointId id) const;
  // A pod's own, else the longest prefix's, else world of the address's family.
  [[nodiscard]] policy::IdentityId identity_of(const IpAddress& address) const;

private:
  std::vector<Endpoint> x_endpoints;
  std::unordered_map<IpAddress, std::size_t> x_by_address;
  std::unordered_map<std::string, std::size_t> x_by_name;
  std::unordered_map<policy::EndpointId, std::size_t> x_by_id;
  // By mapped prefix length, longest first; few lengths occur, so a look-up is a few hash probes.
  struct Length {
    std::uint8_t mapped_length;
    std::unordered_map<IpAddress, policy::IdentityId> cells;
  };
  std::vector<Length> x_v4_lengths, x_v6_lengths;
};

} // namespace weir::endpoint
