#include "proxy/endpoint/cluster_input.h"

#include <map>
#include <set>
#include <utility>

namespace weir::endpoint {

std::vector<Endpoint> add_pods(const ClusterSpec& cluster, IdentityAllocator& numbers,
                               const std::function<bool(const Endpoint&)>& judged,
                               policy::CompileInput& input) {
  std::vector<Endpoint> pods;
  std::map<policy::IdentityId, policy::Labels> identities;
  for (const auto& pod : cluster.pods) {
    Endpoint made;
    made.endpoint_namespace = pod.pod_namespace;
    made.name = pod.name;
    made.labels = identity_labels(pod, cluster);
    made.id = numbers.endpoint_id(made.full_name());
    made.identity = numbers.identity_of(made.labels);
    made.addresses = pod.addresses;
    made.interface = pod.interface;
    made.local = pod.local;
    made.named_ports = pod.named_ports;
    if (judged(made)) {
      input.endpoints.push_back(
          {made.id, made.identity, made.endpoint_namespace, made.name, made.named_ports});
    }
    for (const auto& port : made.named_ports) {
      input.peer_ports.emplace(made.identity, port);
    }
    identities.emplace(made.identity, made.labels);
    pods.push_back(std::move(made));
  }
  for (auto& [id, labels] : identities) {
    input.identities.push_back({id, std::move(labels)});
  }
  return pods;
}

void add_services(const ClusterSpec& cluster, policy::CompileInput& input) {
  for (const auto& service : cluster.services) {
    input.services.push_back({service.service_namespace, service.name, service.labels,
                              service.selector, service.endpoints});
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
