#include "proxy/endpoint/cluster.h"

namespace weir::endpoint {
namespace {

constexpr std::string_view kSource = "k8s:";
constexpr std::string_view kNamespaceKey = "io.kubernetes.pod.namespace";
constexpr std::string_view kOwnPrefix = "io.cilium.k8s.";
constexpr std::string_view kMetadataName = "kubernetes.io/metadata.name";

std::string own_key(std::string_view rest) {
  std::string key(kSource);
  key += kOwnPrefix;
  key += rest;
  return key;
}

} // namespace

policy::Labels identity_labels(const PodSpec& pod, const ClusterSpec& cluster) {
  policy::Labels labels;
  for (const auto& [key, value] : pod.labels) {
    if (key != kNamespaceKey && !key.starts_with(kOwnPrefix)) {
      labels.emplace(std::string(kSource) + key, value);
    }
  }
  labels[std::string(kSource) + std::string(kNamespaceKey)] = pod.pod_namespace;
  labels[own_key("policy.cluster")] = kClusterName;
  labels[own_key("policy.serviceaccount")] = pod.service_account;
  // Kubernetes' API server puts this one on every namespace; a file need not repeat it.
  labels[own_key("namespace.labels." + std::string(kMetadataName))] = pod.pod_namespace;
  const auto found = cluster.namespaces.find(pod.pod_namespace);
  if (found != cluster.namespaces.end()) {
    for (const auto& [key, value] : found->second) {
      labels[own_key("namespace.labels." + key)] = value;
    }
  }
  return labels;
}

} // namespace weir::endpoint
