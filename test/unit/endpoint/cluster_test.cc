#include "proxy/endpoint/cluster.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::endpoint::PodSpec;

TEST_CASE("a pod's identity has its labels, its namespace's, cluster and service account") {
  const auto namespaces = weir::endpoint::namespace_map({{"shop", {{"team", "blue"}}}});
  PodSpec pod;
  pod.pod_namespace = "shop";
  pod.name = "web";
  pod.labels = {{"app", "web"}};
  const weir::policy::Labels expected = {
      {"k8s:app", "web"},
      {"k8s:io.kubernetes.pod.namespace", "shop"},
      {"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "shop"},
      {"k8s:io.cilium.k8s.namespace.labels.team", "blue"},
      {"k8s:io.cilium.k8s.policy.cluster", "default"},
      {"k8s:io.cilium.k8s.policy.serviceaccount", "default"}};
  CHECK(weir::endpoint::identity_labels(pod, namespaces) == expected);
}

TEST_CASE("a pod cannot forge its namespace, the namespace's labels or a reserved identity") {
  PodSpec pod;
  pod.pod_namespace = "evil";
  pod.labels = {{"io.kubernetes.pod.namespace", "shop"},
                {"io.cilium.k8s.namespace.labels.team", "blue"},
                {"io.cilium.k8s.policy.serviceaccount", "admin"},
                {"reserved:host", ""}};
  const auto labels = weir::endpoint::identity_labels(pod, {});
  CHECK(labels.at("k8s:io.kubernetes.pod.namespace") == "evil");
  CHECK_FALSE(labels.contains("k8s:io.cilium.k8s.namespace.labels.team"));
  CHECK(labels.at("k8s:io.cilium.k8s.policy.serviceaccount") == "default");
  CHECK_FALSE(labels.contains("reserved:host"));
}

} // namespace
