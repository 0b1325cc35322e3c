// What judging and learning from DNS has to know of the cluster: whose answers are believed, which
// addresses are the cluster's own and therefore opened by no name, and how a pod's resolver
// completes short names. An immutable value, made by the control thread with each snapshot.
#pragma once

#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "proxy/config/config.h"
#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/registry.h"
#include "proxy/endpoint/resolv_conf.h"

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace weir::endpoint {

class DnsScope {
public:
  // Believed are: pods and services of the cluster's DNS (label k8s-app: kube-dns in kube-system),
  // the servers that the node itself asks, and config.resolvers. The cluster's own are: every pod,
  // node and service known, and config.cluster_ranges. Pods are asked of the Registry.
  DnsScope(const ClusterSpec& cluster, const config::Dns& config, const ResolvConf& node);

  [[nodiscard]] bool trusts(const IpAddress& server, const Registry& pods) const;
  [[nodiscard]] bool is_cluster_address(const IpAddress& address, const Registry& pods) const;
  // The domains that a pod of this namespace completes names with, as kubelet writes them.
  [[nodiscard]] std::vector<DnsName> search(std::string_view pod_namespace) const;

private:
  std::unordered_set<IpAddress> x_resolvers, x_cluster;
  std::vector<IpPrefix> x_resolver_ranges, x_cluster_ranges;
  DnsName x_cluster_domain;
  std::vector<DnsName> x_node_search;
};

} // namespace weir::endpoint
