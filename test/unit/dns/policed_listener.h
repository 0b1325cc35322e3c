// DNS by real policy, for tests that turn or run the worker themselves: shop/web asks shop/api,
// which the test plays, through a static listener. The kernel only remembers what it is told.
#pragma once

#include "proxy/session/dns_gate_policy.h"
#include "test/unit/dns/fakes.h"
#include "test/unit/dns/session_fixture.h"
#include "test/unit/policy-compiler/fixture.h"

#include <netinet/in.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

struct PolicedListener {
  // The references outlive it. To be run on the worker once it has a snapshot.
  PolicedListener(runtime::Worker& worker, AccessLog& log, session::DnsService& service,
                  const config::Dns& dns = {})
      : context{worker, http, cache, log, nullptr, dns} {
    auto opened = session::DnsListener::open_static(
        service, ListenAddr{address("127.0.0.1:0")}, upstream.address(),
        [this](ClientAddr, OriginalDst) {
          return session::make_dns_policy(
              context, session::FixedFlow{policy::Direction::kEgress, "shop/web", "shop/api", 53},
              IPPROTO_UDP);
        });
    REQUIRE(opened.has_value());
    listener = *std::move(opened);
  }

  // By one policy with this spec. Pods: shop/web, or what it is called now (endpoint 1), shop/api
  // (2), and the cluster's DNS server; 10.96.0.20 is a service's.
  [[nodiscard]] std::shared_ptr<endpoint::Snapshot>
  snapshot_of(const std::string& spec, const std::string& first_pod = "web") const {
    policy::test::Fixture compiler;
    compiler.policy("dns", spec).compile();
    auto snapshot = std::make_shared<endpoint::Snapshot>();
    snapshot->program = compiler.result.program;
    const auto prefixes = snapshot->program->prefixes();
    snapshot->registry = std::make_shared<endpoint::Registry>(
        std::vector<endpoint::Endpoint>{pod(1, compiler.kWeb, first_pod, "10.0.1.1"),
                                        pod(2, compiler.kApi, "api", "10.0.1.2"), dns_pod()},
        std::vector<policy::Program::Prefix>(prefixes.begin(), prefixes.end()));
    endpoint::ServiceSpec service;
    service.cluster_addresses = {*IpAddress::parse("10.96.0.20")};
    endpoint::ClusterSpec cluster;
    cluster.services = endpoint::service_map({service});
    snapshot->dns =
        std::make_shared<endpoint::DnsScope>(cluster, context.dns, endpoint::ResolvConf{});
    return snapshot;
  }

  RecordingRedirector kernel;
  dns::FqdnCache cache{kernel, {}};
  config::Http http;
  session::SessionContext context;
  TestSocket upstream{SOCK_DGRAM, "127.0.0.1:0"}, client{SOCK_DGRAM, "127.0.0.1:0"};
  std::unique_ptr<session::DnsListener> listener;

private:
  static endpoint::Endpoint pod(policy::EndpointId id, policy::IdentityId identity,
                                const std::string& name, std::string_view ip) {
    endpoint::Endpoint pod;
    pod.id = id;
    pod.identity = identity;
    pod.endpoint_namespace = "shop";
    pod.name = name;
    pod.addresses = {*IpAddress::parse(ip)};
    return pod;
  }
  static endpoint::Endpoint dns_pod() {
    endpoint::Endpoint dns = pod(3, 4711, "dns", "10.0.1.53");
    dns.endpoint_namespace = "kube-system";
    dns.labels =
        std::make_shared<const policy::Labels>(policy::Labels{{"k8s:k8s-app", "kube-dns"}});
    return dns;
  }
};

} // namespace weir::test
