#include "proxy/endpoint/file_source.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

namespace {

using weir::endpoint::parse_cluster;

constexpr const char* kWhole = R"(endpoints:
  - name: web
    namespace: shop
    labels: {app: web}
    ips: [10.0.1.11, "fd00:10:1::11"]
    interface: lxcb
    namedPorts: [{name: http, port: 80, protocol: TCP}, {name: dns, port: 53, protocol: UDP}]
namespaces:
  shop: {labels: {team: blue}}
services:
  - name: web
    namespace: shop
    clusterIPs: [10.96.0.20]
    ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}, {port: 53, targetPort: dns}]
    selector: {app: web}
  - {name: legacy, namespace: shop, endpoints: [203.0.113.9]}
nodes:
  - {name: node-a, ips: [172.31.0.1]}
)";

TEST_CASE("the documented form of endpoints.yaml is read whole") {
  const auto loaded = parse_cluster("endpoints.yaml", kWhole);
  REQUIRE(loaded.errors.empty());
  const auto& cluster = *loaded.cluster;
  REQUIRE(cluster.pods.size() == 1);
  REQUIRE(cluster.pods.contains("shop/web"));
  const weir::endpoint::PodSpec& pod = **cluster.pods.find("shop/web");
  CHECK(pod.name == "web");
  CHECK(pod.pod_namespace == "shop");
  CHECK(pod.interface == "lxcb");
  CHECK(pod.addresses.size() == 2);
  CHECK(pod.named_ports.at(1).protocol == IPPROTO_UDP);
  CHECK((*cluster.namespaces.find("shop"))->at("team") == "blue");
  const auto services = weir::endpoint::in_order(cluster.services);
  REQUIRE(services.size() == 2);
  CHECK(std::get<std::uint16_t>(services[1]->ports.at(0).target) == 8080);
  CHECK(std::get<std::string>(services[1]->ports.at(1).target) == "dns");
  CHECK(services[0]->endpoints.size() == 1);
  CHECK(cluster.nodes.at(0).name == "node-a");
}

TEST_CASE("every mistake of endpoints.yaml is named with its place") {
  struct Case {
    const char* text;
    const char* error;
  };
  for (const auto& [text, error] : {
           Case{"endpoints:\n  - name: a\n    namespace: x\n    lables: {}\n", "lables"},
           Case{"endpoints:\n  - name: a\n", "namespace"},
           Case{"endpoints:\n  - {name: a, namespace: x, ips: [10.0.0.300]}\n", "ips[0]"},
           Case{"endpoints:\n  - {name: a, namespace: x, interface: v0}\n", "addresses"},
           Case{"endpoints:\n  - {name: a, namespace: x, netns: /run/netns/a}\n", "netns"},
           Case{"endpoint: []\n", "endpoint"},
       }) {
    INFO(text);
    const auto loaded = parse_cluster("endpoints.yaml", text);
    CHECK_FALSE(loaded.cluster.has_value());
    REQUIRE_FALSE(loaded.errors.empty());
    CHECK(loaded.errors.front().text().find(error) != std::string::npos);
    CHECK(loaded.errors.front().text().starts_with("endpoints.yaml:"));
  }
}

TEST_CASE("a name or an address that stands for two pods is refused") {
  const auto twice = parse_cluster("e.yaml", "endpoints:\n"
                                             "  - {name: a, namespace: x, ips: [10.0.0.1]}\n"
                                             "  - {name: a, namespace: x, ips: [10.0.0.2]}\n");
  CHECK_FALSE(twice.cluster.has_value());
  const auto shared = parse_cluster("e.yaml", "endpoints:\n"
                                              "  - {name: a, namespace: x, ips: [10.0.0.1]}\n"
                                              "  - {name: b, namespace: x, ips: [10.0.0.1]}\n");
  CHECK_FALSE(shared.cluster.has_value());
}

} // namespace
