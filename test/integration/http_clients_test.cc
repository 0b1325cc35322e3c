// Clients that people use, with weir between them and a server on the transparent path; and what
// an audited policy does to real traffic.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <csignal>

namespace weir::test {
namespace {

constexpr const char* kWebSocket = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web-ingress, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "8080", protocol: TCP}]
          rules: {http: [{method: GET, path: /ws}]}
)";

// A session of twenty requests on one connection, the last of which is denied.
constexpr const char* kPythonClient = R"(
import http.client, sys, urllib.request
c = http.client.HTTPConnection(sys.argv[1], 80, timeout=10)
for i in range(20):
    c.request("GET", "/discount", headers={"X-Number": str(i)})
    r = c.getresponse()
    assert (r.status, r.read()) == (200, b"shop/web\n"), r.status
c.request("POST", "/discount", body=b"x" * 1000)
r = c.getresponse()
assert (r.status, r.read()) == (403, b"Access denied\r\n"), r.status
assert urllib.request.urlopen("http://" + sys.argv[2] + "/discount", timeout=10).status == 200
print("fine")
)";

std::string enforcement(std::string policy, std::string_view word) {
  const std::string_view place = "  namespace: shop\n";
  policy.insert(policy.find(place) + place.size(),
                "  annotations: {weir.io/enforcement: " + std::string(word) + "}\n");
  return policy;
}

struct Shop {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
};

TEST_CASE("Python's clients keep their connection, and are told what is denied") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const std::string address = shop.web.address(family);
    const Outcome outcome = shop.client.netns().run(
        {"/usr/bin/python3", "-c", kPythonClient, address, url_host(address)});
    INFO(outcome.text());
    CHECK(outcome.out == "fine\n");
  }
}

TEST_CASE("W9: a WebSocket works, and ends when policy no longer allows it") {
  require_root();
  Shop shop;
  shop.lab.policies().publish({{"web.yaml", kWebSocket}});
  shop.lab.start_weir();
  const std::string address = shop.web.address(Family::kV4);
  const std::string server_output = shop.lab.folder() / "server", output = shop.lab.folder() / "c";
  Process server = shop.web.netns().start(
      {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "serve", address, "8080"}, server_output);
  REQUIRE(eventually([&] { return read_file(server_output).find("ready") != std::string::npos; }));
  Process client = shop.client.netns().start(
      {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "talk", address, "8080", "50"}, output);
  CHECK(eventually([&] { return read_file(output).find("echoed 50\n") != std::string::npos; }));
  CHECK(read_file(output).starts_with("HTTP/1.1 101 "));
  // Another policy that allows it drops nothing; one that does not ends it.
  std::string elsewhere = kWebSocket;
  elsewhere.replace(elsewhere.find("/ws"), 3, "/other");
  shop.lab.policies().publish({{"web.yaml", elsewhere}});
  CHECK(client.wait(std::chrono::seconds(15)));
  CHECK(read_file(output).ends_with("reset\n"));
  const Outcome again = shop.client.netns().run(
      {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "talk", address, "8080", "1"});
  CHECK(again.out == "HTTP/1.1 403 Forbidden\n");
  server.send_signal(SIGKILL);
  CHECK(server.wait(std::chrono::seconds(5)));
}

TEST_CASE("what an audited policy refuses passes, packets and requests, and is counted") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", enforcement(kHttpIngress, "audit")}});
  shop.lab.start_weir();
  const std::string url = "http://" + shop.web.address(Family::kV4) + "/discount";
  CHECK(shop.client.curl({"--max-time", "5", url}).status == 200);
  CHECK(shop.client.curl({"--max-time", "5", "-X", "POST", url}).status == 200);
  CHECK(shop.stranger.curl({"--max-time", "5", url}).status == 200);
  REQUIRE(eventually([&] { return shop.lab.access_log().size() == 2; }));
  const auto records = shop.lab.access_log();
  CHECK(boost::json::value_to<std::string>(records[0].at("verdict")) == "ALLOWED");
  CHECK(boost::json::value_to<std::string>(records[1].at("verdict")) == "AUDIT");
  CHECK(boost::json::value_to<std::string>(records[1].at("denied_by")) == "shop/web-ingress");
  const auto stats = shop.lab.admin("/stats/prometheus");
  REQUIRE(stats.has_value());
  CHECK(stats->body.find("weir_audited_flows_total{direction=\"ingress\"} 1\n") !=
        std::string::npos);
  CHECK(stats->body.find("weir_http_requests_total{code=\"200\",verdict=\"audit\"} 1\n") !=
        std::string::npos);

  shop.lab.policies().publish({{"web.yaml", enforcement(kHttpIngress, "enforce")}});
  CHECK(eventually(
      [&] { return shop.client.curl({"--max-time", "5", "-X", "POST", url}).status == 403; }));
  CHECK(shop.stranger.curl({"--max-time", "1", url}).exit_code == kCurlTimeout);
}

} // namespace
} // namespace weir::test
