#include "proxy/endpoint/dns_scope.h"

#include "proxy/endpoint/pods.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

namespace weir::endpoint {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

std::vector<std::string> texts(const std::vector<DnsName>& names) {
  std::vector<std::string> texts;
  for (const auto& name : names) {
    texts.push_back(name.to_text());
  }
  return texts;
}
using Texts = std::vector<std::string>;

PodSpec dns_pod(const std::string& pod_namespace, std::vector<IpAddress> addresses) {
  PodSpec pod;
  pod.pod_namespace = pod_namespace;
  pod.name = "dns";
  pod.labels = {{"k8s-app", "kube-dns"}};
  pod.addresses = std::move(addresses);
  return pod;
}

ClusterSpec cluster() {
  ServiceSpec dns;
  dns.service_namespace = "kube-system";
  dns.name = "kube-dns";
  dns.cluster_addresses = {ip("10.96.0.10")};
  dns.selector = {{"k8s-app", "kube-dns"}};
  ServiceSpec legacy;
  legacy.service_namespace = "shop";
  legacy.name = "legacy";
  legacy.cluster_addresses = {ip("10.96.0.20")};
  legacy.endpoints = {ip("203.0.113.9")};
  ClusterSpec cluster;
  cluster.pods = pod_map({dns_pod("kube-system", {ip("10.0.1.53"), ip("fd00::53")}),
                          dns_pod("evil", {ip("10.0.1.66")})});
  cluster.services = service_map({dns, legacy});
  cluster.nodes = {{"node-a", {ip("172.31.0.1")}}};
  return cluster;
}

Registry registry() {
  IdentityAllocator numbers(0);
  Pods pods(numbers, [](const PodSpec& /*pod*/) { return true; });
  const ClusterSpec known = cluster();
  pods.update(known.pods, known.namespaces);
  return {pods.by_name(), pods.by_address(),
          std::make_shared<const PrefixTable>(std::vector<policy::Program::Prefix>())};
}

TEST_CASE("D11: believed are the cluster's DNS, the node's servers and those configured") {
  config::Dns config;
  config.resolvers = {*IpPrefix::parse("192.0.2.0/24")};
  const DnsScope scope(cluster(), config, {{ip("198.51.100.1")}, {}});
  const Registry pods = registry();
  for (const auto* server : {"10.0.1.53", "fd00::53", "10.96.0.10", "198.51.100.1", "192.0.2.77"}) {
    CAPTURE(server);
    CHECK(scope.trusts(ip(server), pods));
  }
  // Whoever labels his own pod so, in another namespace, is not.
  for (const auto* server : {"10.0.1.66", "10.96.0.20", "8.8.8.8", "2001:4860:4860::8888"}) {
    CAPTURE(server);
    CHECK_FALSE(scope.trusts(ip(server), pods));
  }
}

TEST_CASE("D8: pods, services, nodes and the configured ranges are the cluster's own") {
  config::Dns config;
  config.cluster_ranges = {*IpPrefix::parse("10.244.0.0/16"), *IpPrefix::parse("fd01::/64")};
  const DnsScope scope(cluster(), config, {});
  const Registry pods = registry();
  for (const auto* address : {"10.0.1.53", "10.96.0.20", "172.31.0.1", "10.244.3.4", "fd01::9"}) {
    CAPTURE(address);
    CHECK(scope.is_cluster_address(ip(address), pods));
  }
  for (const auto* address : {"203.0.113.9", "10.245.0.1", "fd01:1::1"}) {
    CAPTURE(address);
    CHECK_FALSE(scope.is_cluster_address(ip(address), pods));
  }
}

TEST_CASE("D17: a pod's search list is kubelet's, and the node's after it") {
  const DnsScope scope(cluster(), {}, parse_resolv_conf("search example.net corp.example\n"));
  CHECK(texts(scope.search("shop")) == Texts{"shop.svc.cluster.local.", "svc.cluster.local.",
                                             "cluster.local.", "example.net.", "corp.example."});
}

TEST_CASE("A resolv.conf is read as resolvers read it") {
  const auto conf = parse_resolv_conf("# comment\n"
                                      "nameserver 10.96.0.10 ; trailing\r\n"
                                      "\tnameserver\tfe80::1%eth0\n"
                                      "nameserver not-an-address\n"
                                      "nameserver\n"
                                      "domain first.example\n"
                                      "search  a.example  b.example. . \n"
                                      "options ndots:5\n"
                                      "nameserver 2001:db8::1");
  CHECK(conf.name_servers == std::vector{ip("10.96.0.10"), ip("fe80::1"), ip("2001:db8::1")});
  CHECK(texts(conf.search) == Texts{"a.example.", "b.example."});
}

} // namespace
} // namespace weir::endpoint
