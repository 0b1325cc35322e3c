#include "proxy/endpoint/dns_scope.h"

#include <algorithm>
#include <utility>

namespace weir::endpoint {
namespace {

constexpr std::string_view kDnsNamespace = "kube-system";
constexpr std::pair<std::string_view, std::string_view> kDnsLabel = {"k8s-app", "kube-dns"};

// `source`: "k8s:" where the labels are an identity's.
bool has_dns_label(const PlainLabels& labels, const char* source = "") {
  const auto at = labels.find(source + std::string(kDnsLabel.first));
  return at != labels.end() && at->second == kDnsLabel.second;
}

bool is_dns_pod(const Endpoint* pod) {
  return pod != nullptr && pod->endpoint_namespace == kDnsNamespace &&
         has_dns_label(*pod->labels, "k8s:");
}

bool in_ranges(const std::vector<IpPrefix>& ranges, const IpAddress& address) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const IpPrefix& range) { return range.contains(address); });
}

// Nothing when the whole is too long for a name.
std::optional<DnsName> joined(std::initializer_list<std::string_view> front, const DnsName& rest) {
  std::vector<std::string> labels(front.begin(), front.end());
  for (const auto label : rest.labels()) {
    labels.emplace_back(label);
  }
  return DnsName::from_labels(labels);
}

} // namespace

DnsScope::DnsScope(const ClusterSpec& cluster, const config::Dns& config, const ResolvConf& node)
    : x_resolvers(node.name_servers.begin(), node.name_servers.end()),
      x_resolver_ranges(config.resolvers), x_cluster_ranges(config.cluster_ranges),
      x_cluster_domain(config.cluster_domain), x_node_search(node.search) {
  for (const NodeSpec& known : cluster.nodes) {
    x_cluster.insert(known.addresses.begin(), known.addresses.end());
  }
  cluster.services.for_each([&](const std::string& /*name*/, const auto& service) {
    // What a selector-less service leads to lies outside the cluster.
    const auto& addresses = service->cluster_addresses;
    x_cluster.insert(addresses.begin(), addresses.end());
    if (service->service_namespace == kDnsNamespace &&
        (has_dns_label(service->labels) || has_dns_label(service->selector))) {
      x_resolvers.insert(addresses.begin(), addresses.end());
    }
  });
}

bool DnsScope::trusts(const IpAddress& server, const Registry& pods) const {
  return x_resolvers.contains(server) || is_dns_pod(pods.by_address(server)) ||
         in_ranges(x_resolver_ranges, server);
}

bool DnsScope::is_cluster_address(const IpAddress& address, const Registry& pods) const {
  return x_cluster.contains(address) || pods.by_address(address) != nullptr ||
         in_ranges(x_cluster_ranges, address);
}

std::vector<DnsName> DnsScope::search(std::string_view pod_namespace) const {
  std::vector<DnsName> domains;
  const auto add = [&domains](std::optional<DnsName> domain) {
    if (domain) {
      domains.push_back(*std::move(domain));
    }
  };
  add(joined({pod_namespace, "svc"}, x_cluster_domain));
  add(joined({"svc"}, x_cluster_domain));
  add(x_cluster_domain);
  domains.insert(domains.end(), x_node_search.begin(), x_node_search.end());
  return domains;
}

} // namespace weir::endpoint
