// What a pod may try with real packets to get at the node, or past its policy, as somebody else.
#include "test/integration/policies.h"
#include "test/integration/shop.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <sstream>

namespace weir::test {
namespace {

bool told(Lab& lab, const std::string& reason, const std::string& source) {
  return eventually([&] {
    const auto rows = lab.admin_json("/flows?verdict=DROPPED");
    return std::any_of(rows.as_array().begin(), rows.as_array().end(), [&](const auto& row) {
      const auto* why = row.as_object().if_contains("reason");
      return why != nullptr && *why == boost::json::value(reason) &&
             row.at("source").at("ip") == boost::json::value(source);
    });
  });
}

int status_of(const Pod& pod, const std::string& url, const char* limit = "1") {
  return pod.curl({"--max-time", limit, url}).status;
}

// Ports that weir-proxy listens on in the node.
std::vector<std::string> own_ports(Lab& lab) {
  std::istringstream lines(lab.node().run({"ss", "-Hltnp"}).out);
  std::vector<std::string> ports;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("weir-proxy") != std::string::npos) {
      std::istringstream words(line);
      std::string state, received, sent, address;
      words >> state >> received >> sent >> address;
      ports.push_back(address.substr(address.rfind(':') + 1));
    }
  }
  return ports;
}

TEST_CASE("N7: a pod reaches none of weir's own ports, nor the node's loopback by any way") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}}); // under a policy
  Pod& free = lab.add_pod({"shop", "free", {{"app", "free"}}});       // under none
  lab.node().sysctl("net.ipv4.conf.all.route_localnet", "1");         // as kube-proxy sets it
  const HttpServer local(&lab.node(), lab.folder() / "local", "local", 8099);
  for (const Pod* pod : {&client, &free}) {
    // Its own loopback is somewhere else now: 127.0.0.1 goes out by its interface.
    pod->netns().ip(
        {"addr del 127.0.0.1/8 dev lo", "route add 127.0.0.1 via 169.254.1.1 dev eth0"});
    pod->netns().sysctl("net.ipv4.conf.all.route_localnet", "1");
    CHECK(status_of(*pod, "http://127.0.0.1:8099/", "5") == 200); // that is how open it would be
  }
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: everywhere, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
    - toEntities: [all]
)"}});
  lab.start_weir();
  const auto ports = own_ports(lab);
  CHECK(ports.size() >= 4); // admin, metrics, a listener a worker at the least
  for (const Pod* pod : {&client, &free}) {
    INFO(pod->full_name());
    CHECK(status_of(*pod, "http://127.0.0.1:8099/") == 0);
    CHECK(told(lab, "TO_LOOPBACK", pod->address(Family::kV4)));
    for (const std::string& port : ports) {
      INFO("port " << port);
      CHECK(status_of(*pod, "http://127.0.0.1:" + port + "/ready") == 0);
      CHECK(status_of(*pod, "http://172.31.0.1:" + port + "/ready") == 0);
      CHECK(status_of(*pod, "http://[fd00:172:31::1]:" + port + "/ready") == 0);
    }
  }
  CHECK(lab.await_ready());
}

TEST_CASE("N9: a pod that speaks as another pod is not heard, whoever it is") {
  require_root();
  Shop shop;
  auto& [lab, client, stranger, web] = shop;
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const bool v4 = family == Family::kV4;
    // The allowed pod's address, and one that is nobody's.
    for (const std::string& address :
         {client.address(family), std::string(v4 ? "10.0.1.99" : "fd00:10:1::99")}) {
      stranger.netns().ip({"addr add " + address + (v4 ? "/32" : "/128 nodad") + " dev eth0"});
      for (const std::string& to :
           {web.address(family), other_address(family), std::string(v4 ? kDnsV4 : kDnsV6)}) {
        INFO(address << " to " << to);
        CHECK(stranger
                  .curl({"--max-time", "1", "--interface", address,
                         "http://" + url_host(to) + "/discount?spoofed"})
                  .status == 0);
      }
      CHECK(told(lab, "SPOOFED", address));
    }
  }
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  CHECK(server.requests_before("/end").empty());
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  CHECK(lab.world_http().requests_before("/end").empty());
  // A line of the log names no pod for it: nobody knows whose it is.
  for (const auto& line : lab.access_log()) {
    const auto* reason = line.if_contains("reason");
    if (reason != nullptr && *reason == "SPOOFED") {
      CHECK_FALSE(line.at("source").as_object().contains("pod"));
    }
  }
}

} // namespace
} // namespace weir::test
