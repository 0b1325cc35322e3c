#include "proxy/control/service_states.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

using namespace weir;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

endpoint::PodSpec pod(const char* name, const char* app, std::vector<IpAddress> addresses,
                      std::uint16_t http_port) {
  endpoint::PodSpec spec;
  spec.pod_namespace = "shop";
  spec.name = name;
  spec.labels = {{"app", app}};
  spec.addresses = std::move(addresses);
  if (http_port != 0) {
    spec.named_ports.push_back({"http", http_port, IPPROTO_TCP});
  }
  return spec;
}

bool nobody(const IpAddress& /*address*/) { return false; }

} // namespace

TEST_CASE("a named target port is each backend's own, and who has none is no backend") {
  endpoint::ClusterSpec cluster;
  cluster.pods = endpoint::pod_map({pod("a", "web", {ip("10.0.1.1"), ip("fd00::1")}, 8080),
                                    pod("b", "web", {ip("10.0.1.2")}, 8081),
                                    pod("c", "web", {ip("10.0.1.3")}, 0),
                                    pod("d", "other", {ip("10.0.1.4")}, 8080)});
  endpoint::ServiceSpec service;
  service.service_namespace = "shop";
  service.selector = {{"app", "web"}};
  service.cluster_addresses = {ip("10.96.0.1"), ip("fd00:96::1")};
  service.ports = {{"http", 80, std::string("http"), IPPROTO_TCP},
                   {"metrics", 9090, std::uint16_t{9100}, IPPROTO_TCP},
                   {"sctp", 5, std::uint16_t{5}, IPPROTO_SCTP}};
  cluster.services = endpoint::service_map({service});
  const auto states = control::service_states(
      cluster, [](const IpAddress& address) { return address == ip("10.0.1.2"); });
  REQUIRE(states.size() == 4); // two addresses, two ports
  CHECK(states[0].address == SocketAddress{ip("10.96.0.1"), 80});
  CHECK(states[0].backends ==
        std::vector<SocketAddress>{{ip("10.0.1.1"), 8080}, {ip("10.0.1.2"), 8081}});
  CHECK(states[0].guarded);
  CHECK(states[1].backends.size() == 3);
  CHECK(states[2].address == SocketAddress{ip("fd00:96::1"), 80});
  CHECK(states[2].backends == std::vector<SocketAddress>{{ip("fd00::1"), 8080}});
  CHECK_FALSE(states[2].guarded);
}

TEST_CASE(
    "a service selects in its own namespace, and one without a selector leads where it says") {
  endpoint::ClusterSpec cluster;
  cluster.pods = endpoint::pod_map({pod("a", "web", {ip("10.0.1.1")}, 0)});
  endpoint::ServiceSpec elsewhere;
  elsewhere.service_namespace = "other";
  elsewhere.name = "elsewhere";
  elsewhere.selector = {{"app", "web"}};
  elsewhere.cluster_addresses = {ip("10.96.0.1")};
  elsewhere.ports = {{"", 80, std::uint16_t{80}, IPPROTO_TCP}};
  endpoint::ServiceSpec listed = elsewhere;
  listed.name = "listed";
  listed.selector.clear();
  listed.endpoints = {ip("203.0.113.9"), ip("2001:db8::9")};
  listed.affinity = std::chrono::seconds(10);
  cluster.services = endpoint::service_map({elsewhere, listed});
  const auto states = control::service_states(cluster, nobody);
  REQUIRE(states.size() == 2);
  CHECK(states[0].backends.empty());
  CHECK(states[1].backends == std::vector<SocketAddress>{{ip("203.0.113.9"), 80}});
  CHECK(states[1].affinity == std::chrono::seconds(10));
}
