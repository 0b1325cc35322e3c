// What a source of endpoints says about the cluster, as plain data: a file (file_source.h) or the
// Kubernetes API (kubernetes/source.h). Numbers (identities, ids) are given out afterwards, by
// IdentityAllocator.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/ip.h"
#include "proxy/base/shared_map.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace weir::endpoint {

using PlainLabels = std::map<std::string, std::string>; // as people write them, without a source

struct PodSpec {
  std::string pod_namespace, name;
  PlainLabels labels;
  std::string service_account = "default";
  std::vector<IpAddress> addresses;
  std::string interface; // host side of its veth; empty: on another node, or static listeners only
  bool local = false;    // of this node whatever `interface` says: held while that is empty
  std::vector<policy::NamedPort> named_ports;

  bool operator==(const PodSpec&) const = default;
};

struct ServicePort {
  std::string name;
  std::uint16_t port = 0;
  std::variant<std::uint16_t, std::string> target; // number, or the name of a pod's port
  std::uint8_t protocol = 0;                       // IPPROTO_*

  bool operator==(const ServicePort&) const = default;
};

// Where a port of a service leads, as the cluster's own controllers say it (EndpointSlices).
struct ServiceBackends {
  std::string port; // the service's port, by name; "" for the only one
  std::uint8_t protocol = 0;
  std::vector<SocketAddress> addresses;

  bool operator==(const ServiceBackends&) const = default;
};

struct ServiceSpec {
  std::string service_namespace, name;
  PlainLabels labels;
  std::vector<IpAddress> cluster_addresses;
  std::vector<ServicePort> ports;
  PlainLabels selector;
  std::vector<IpAddress> endpoints; // selector-less: where it leads
  // Where the ports lead; without it that is found by selector or `endpoints`.
  std::optional<std::vector<ServiceBackends>> backends;
  std::chrono::seconds affinity{0}; // a client keeps its backend for as long; 0: not

  bool operator==(const ServiceSpec&) const = default;
};

struct NodeSpec {
  std::string name;
  std::vector<IpAddress> addresses;

  bool operator==(const NodeSpec&) const = default;
};

// By "namespace/name". What did not change is the same object as before, so that whoever keeps
// something made of it need look at the difference only (shared_map.h).
using PodMap = SharedMap<std::string, std::shared_ptr<const PodSpec>>;
using ServiceMap = SharedMap<std::string, std::shared_ptr<const ServiceSpec>>;
using NamespaceMap = SharedMap<std::string, std::shared_ptr<const PlainLabels>>;

[[nodiscard]] PodMap pod_map(std::vector<PodSpec> pods);
[[nodiscard]] ServiceMap service_map(std::vector<ServiceSpec> services);
// In the order of their names: of two with one address the first has it, wherever that is asked.
[[nodiscard]] std::vector<const ServiceSpec*> in_order(const ServiceMap& services);
[[nodiscard]] NamespaceMap namespace_map(const std::map<std::string, PlainLabels>& namespaces);

struct ClusterSpec {
  PodMap pods; // no two with one address
  NamespaceMap namespaces;
  ServiceMap services;
  std::vector<NodeSpec> nodes;
  std::vector<IpAddress> api_servers; // nodes' addresses, or others
};

inline constexpr std::string_view kClusterName = "default";

// All labels of a pod's identity, with their source. Those that weir adds (namespace, its labels,
// cluster, service account) cannot be forged by a pod label of the same name.
[[nodiscard]] policy::Labels identity_labels(const PodSpec& pod, const NamespaceMap& namespaces);

} // namespace weir::endpoint
