// Pods, labels, services and policies of a real API server, enforced as they change.
#include "test/integration/kubernetes/cluster.h"
#include "test/integration/policies.h"

#include <catch2/catch_test_macros.hpp>
#include <yaml-cpp/yaml.h>

namespace weir::test {
namespace {

void follow_policies_and_labels(Cluster& cluster) {
  CHECK(eventually([&] { return cluster.ready() == "200 LIVE\n"; }));
  CHECK(cluster.state_of("web") == "untouched");
  CHECK(cluster.get("/admin", "5") == 200);

  // The kind is not there when weir starts.
  cluster.api.install_kinds();
  cluster.api.must("POST", kPolicies, kHttpIngress);
  CHECK(cluster.becomes("/admin", 403));
  CHECK(cluster.get("/discount", "5") == 200);
  CHECK(
      eventually([&] { return cluster.state_of("web") == "enforced"; })); // shown when all is done

  cluster.relabel(cluster.client, "stranger");
  CHECK(cluster.becomes("/discount", 0));
  cluster.relabel(cluster.client, "client");
  CHECK(cluster.becomes("/discount", 200));

  cluster.api.must("DELETE", kPolicies + "/web-ingress");
  CHECK(cluster.becomes("/admin", 200));

  // A NetworkPolicy that asks for a label of the client's namespace.
  const std::string network_policies = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies";
  cluster.api.must(
      "POST", network_policies,
      R"({"metadata":{"name":"by-team"},"spec":{"podSelector":{"matchLabels":{"app":"web"}},)"
      R"("ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"blue"}}}]}]}})");
  CHECK(cluster.becomes("/", 0));
  cluster.api.must("PATCH", "/api/v1/namespaces/shop",
                   R"({"metadata":{"labels":{"team":"blue"}}})");
  CHECK(cluster.becomes("/", 200));
  cluster.api.must("PATCH", "/api/v1/namespaces/shop", R"({"metadata":{"labels":{"team":"red"}}})");
  CHECK(cluster.becomes("/", 0));
  cluster.api.must("DELETE", network_policies + "/by-team");
  CHECK(cluster.becomes("/", 200));

  // A policy with a mistake is refused, said with its place, and changes nothing.
  cluster.api.must("POST", kPolicies,
                   R"({"apiVersion":"cilium.io/v2","kind":"CiliumNetworkPolicy",)"
                   R"("metadata":{"name":"typo"},"spec":{"endpointSelector":{},"ingres":[{}]}})");
  CHECK(eventually([&] {
    const auto rows = cluster.lab.admin_json("/policies");
    return rows.as_array().size() == 1 &&
           boost::json::value_to<std::string>(rows.at(0).at("status")) == "rejected" &&
           boost::json::value_to<std::string>(rows.at(0).at("file")) ==
               "CiliumNetworkPolicy/shop/typo" &&
           boost::json::value_to<std::string>(rows.at(0).at("message")).find("ingres") !=
               std::string::npos;
  }));
  CHECK(cluster.get("/", "5") == 200);
}

void hold_a_pod_without_interface(Cluster& cluster) {
  Pod& late = cluster.lab.add_pod({"shop", "late", {{"app", "client"}}}, false);
  cluster.api.must("POST", kPolicies, kHttpIngress);
  CHECK(cluster.becomes("/admin", 403)); // pods and policies come by different watches
  cluster.add(late);
  CHECK(eventually([&] { return cluster.state_of("late") == "held"; }));
  CHECK(eventually([&] {
    const std::string ready = cluster.ready();
    return ready.starts_with("200 LIVE, degraded: ") && ready.find("held") != std::string::npos;
  }));
  cluster.lab.connect_pod(late);
  CHECK(eventually([&] { return cluster.state_of("late") == "untouched"; }));
  CHECK(eventually([&] { return cluster.ready() == "200 LIVE\n"; }));
  const std::string url = "http://" + cluster.web.address(Family::kV4) + "/";
  CHECK(late.curl({"--max-time", "5", url + "discount"}).status == 200);
  CHECK(late.curl({"--max-time", "5", url + "admin"}).status == 403);
  cluster.api.must("DELETE", kPolicies + "/web-ingress");
}

// Found by its labels, and asked at its ClusterIP.
void learn_names_from_kube_dns(Cluster& cluster) {
  cluster.api.make_pod("kube-system", "dns", {{"k8s-app", "kube-dns"}}, "node-b", {kDnsV4});
  cluster.api.must("POST", "/api/v1/namespaces/kube-system/services",
                   R"({"metadata":{"name":"kube-dns","labels":{"k8s-app":"kube-dns"}},"spec":{)"
                   R"("clusterIP":"10.96.0.10","selector":{"k8s-app":"kube-dns"},"ports":[)"
                   R"({"name":"dns","port":53,"protocol":"UDP"},)"
                   R"({"name":"dns-tcp","port":53,"protocol":"TCP"}]}})");
  cluster.api.must(
      "POST", "/apis/discovery.k8s.io/v1beta1/namespaces/kube-system/endpointslices",
      R"({"metadata":{"name":"kube-dns-1","labels":{"kubernetes.io/service-name":"kube-dns"}},)"
      R"("addressType":"IPv4","endpoints":[{"addresses":[")" +
          std::string(kDnsV4) +
          R"("],"conditions":{"ready":true}}],"ports":[{"name":"dns","port":53,"protocol":"UDP"},)"
          R"({"name":"dns-tcp","port":53,"protocol":"TCP"}]})");
  cluster.api.must("POST", kPolicies, kFqdnEgress);
  CHECK(eventually([&] { return cluster.state_of("client") == "enforced"; }));
  // Services come by a watch of their own.
  CHECK(eventually([&] {
    return cluster.client.dig({"@10.96.0.10", kAllowedName, "+short"}).out ==
           std::string(kAllowedV4) + "\n";
  }));
  CHECK(
      cluster.client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status ==
      200);
  CHECK(
      cluster.client.curl({"--max-time", "1", std::string("http://") + kOtherV4 + "/"}).exit_code ==
      kCurlTimeout);
}

// One cluster for all of it: an API server takes longer to start than these take.
std::vector<std::string> capabilities_of_the_daemon_set() {
  const auto container = YAML::LoadFile(
      WEIR_EXAMPLES "/kubernetes/base/daemonset.yaml")["spec"]["template"]["spec"]["containers"][0]
                                                      ["securityContext"];
  REQUIRE(container["readOnlyRootFilesystem"].as<bool>());
  REQUIRE_FALSE(container["privileged"].as<bool>());
  return container["capabilities"]["add"].as<std::vector<std::string>>();
}

TEST_CASE("what the API says of pods, labels, policies and services is enforced as it changes") {
  require_kube_api();
  Cluster cluster;
  // With the rights that the manifest gives, and no others.
  cluster.lab.confine(capabilities_of_the_daemon_set());
  cluster.lab.start_weir();
  follow_policies_and_labels(cluster);
  cluster.api.must("DELETE", kPolicies + "/typo");
  hold_a_pod_without_interface(cluster);
  learn_names_from_kube_dns(cluster);
}

} // namespace
} // namespace weir::test
