#include "proxy/endpoint/cluster_input.h"

#include <set>
#include <utility>

namespace weir::endpoint {

void add_services(const ClusterSpec& cluster, policy::CompileInput& input) {
  for (const ServiceSpec* service : in_order(cluster.services)) {
    input.services.push_back({service->service_namespace, service->name, service->labels,
                              service->selector, service->endpoints});
  }
  std::set<IpAddress> nodes;
  for (const auto& node : cluster.nodes) {
    nodes.insert(node.addresses.begin(), node.addresses.end());
  }
  for (const auto& address : cluster.api_servers) {
    if (!nodes.contains(address)) {
      input.outside.push_back({IpPrefix::host(address), {{"reserved:kube-apiserver", ""}}});
    }
  }
}

std::vector<policy::Program::Prefix> node_prefixes(const ClusterSpec& cluster,
                                                   std::string_view here) {
  const std::set<IpAddress> api_servers(cluster.api_servers.begin(), cluster.api_servers.end());
  std::vector<policy::Program::Prefix> prefixes;
  for (const auto& node : cluster.nodes) {
    for (const auto& address : node.addresses) {
      prefixes.push_back({IpPrefix::host(address), node.name == here ? WEIR_IDENTITY_HOST
                                                   : api_servers.contains(address)
                                                       ? WEIR_IDENTITY_KUBE_APISERVER
                                                       : WEIR_IDENTITY_REMOTE_NODE});
    }
  }
  return prefixes;
}

} // namespace weir::endpoint
