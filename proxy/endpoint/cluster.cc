#include "proxy/endpoint/cluster.h"

#include <algorithm>
#include <tuple>
#include <utility>

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

template <typename Spec>
auto by_full_name(std::vector<Spec> specs, std::string Spec::* of_namespace) {
  typename SharedMap<std::string, std::shared_ptr<const Spec>>::Editor made{{}};
  for (Spec& spec : specs) {
    const std::string name = spec.*of_namespace + "/" + spec.name;
    made.set(name, std::make_shared<const Spec>(std::move(spec)));
  }
  return made.take();
}

} // namespace

policy::Labels identity_labels(const PodSpec& pod, const NamespaceMap& namespaces) {
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
  if (const auto* found = namespaces.find(pod.pod_namespace)) {
    for (const auto& [key, value] : **found) {
      labels[own_key("namespace.labels." + key)] = value;
    }
  }
  return labels;
}

PodMap pod_map(std::vector<PodSpec> pods) {
  return by_full_name(std::move(pods), &PodSpec::pod_namespace);
}

ServiceMap service_map(std::vector<ServiceSpec> services) {
  return by_full_name(std::move(services), &ServiceSpec::service_namespace);
}

std::vector<const ServiceSpec*> in_order(const ServiceMap& services) {
  std::vector<const ServiceSpec*> ordered;
  ordered.reserve(services.size());
  services.for_each(
      [&](const std::string& /*name*/, const auto& service) { ordered.push_back(service.get()); });
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return std::tie(a->service_namespace, a->name) < std::tie(b->service_namespace, b->name);
  });
  return ordered;
}

NamespaceMap namespace_map(const std::map<std::string, PlainLabels>& namespaces) {
  NamespaceMap::Editor made{{}};
  for (const auto& [name, labels] : namespaces) {
    made.set(name, std::make_shared<const PlainLabels>(labels));
  }
  return made.take();
}

} // namespace weir::endpoint
