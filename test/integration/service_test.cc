// Services by their ClusterIP, which nobody but weir translates here: DNS with learning, HTTP rules
// of the backend, and a backend that is gone.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

constexpr const char* kServices = R"([
  {name: dns, namespace: kube-system, clusterIPs: [10.96.0.10, "fd00:96::10"], selector: {k8s-app: kube-dns},
   ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]},
  {name: web, namespace: shop, clusterIPs: [10.96.0.20, "fd00:96::20"], selector: {app: web},
   ports: [{name: http, port: 8000, targetPort: 80}]},
  {name: nobody, namespace: shop, clusterIPs: [10.96.0.30], selector: {app: nobody}, ports: [{port: 80}]}])";

std::string dns_service(Family family) {
  return family == Family::kV4 ? "10.96.0.10" : "fd00:96::10";
}
std::string web_service(Family family) {
  return family == Family::kV4 ? "10.96.0.20" : "fd00:96::20";
}

struct Cluster {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);

  Cluster() {
    lab.set_services(kServices);
    lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
    lab.start_weir();
  }
};

TEST_CASE("N6: names asked of the DNS service's address are learned, over UDP and TCP") {
  require_root();
  Cluster cluster;
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const char* transport : {"+notcp", "+tcp"}) {
      INFO(to_string(family) << " " << transport);
      const Outcome answer =
          cluster.client.dig({"@" + dns_service(family), transport, "+short", kAllowedName,
                              family == Family::kV4 ? "A" : "AAAA"});
      INFO(answer.text());
      CHECK(answer.out == allowed_address(family) + "\n");
    }
    CHECK(cluster.client
              .curl({"--max-time", "5", "http://" + url_host(allowed_address(family)) + "/"})
              .status == 200);
    CHECK(
        cluster.client.curl({"--max-time", "1", "http://" + url_host(other_address(family)) + "/"})
            .exit_code == kCurlTimeout);
  }
}

TEST_CASE("N6: the HTTP rules of a service's backend hold for requests to its address") {
  require_root();
  Cluster cluster;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const std::string base = "http://" + url_host(web_service(family)) + ":8000";
    const CurlResult allowed = cluster.client.curl({"--max-time", "5", base + "/discount"});
    INFO(allowed.text);
    CHECK(allowed.status == 200);
    CHECK(allowed.body == "shop/web\n");
    CHECK(cluster.client.curl({"--max-time", "5", base + "/admin"}).status == 403);
  }
  CHECK(cluster.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  const std::vector<std::string> expected = {
      cluster.client.address(Family::kV4) + " GET /discount 200",
      cluster.client.address(Family::kV6) + " GET /discount 200"};
  CHECK(cluster.server.requests_before("/end") == expected);

  // The log names the pod, not the service.
  cluster.lab.stop_weir(); // the log is complete then
  const auto records = cluster.lab.access_log();
  CHECK(records.size() == 4);
  for (const auto& record : records) {
    CHECK(boost::json::value_to<std::string>(record.at("destination").at("pod")) == "web");
    CHECK(record.at("destination").at("port").to_number<int>() == 80);
  }
}

TEST_CASE("N6: a service is refused without backends, and works when one comes") {
  require_root();
  constexpr int kCurlRefused = 7;
  Cluster cluster;
  const auto ask = [&] {
    return cluster.client.curl({"--max-time", "5", "http://10.96.0.30/discount"});
  };
  CHECK(ask().exit_code == kCurlRefused);
  std::string services = kServices;
  services.replace(services.find("{app: nobody}"), 13, "{app: web}");
  cluster.lab.set_services(services);
  cluster.lab.write_endpoints();
  CHECK(eventually([&] { return ask().status == 200; }));
}

} // namespace
} // namespace weir::test
