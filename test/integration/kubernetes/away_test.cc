// With the API server away only news is lost; and weir asks it for what its manifest grants, no
// more and no less.
#include "test/integration/kubernetes/cluster.h"
#include "test/integration/policies.h"

#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>
#include <yaml-cpp/yaml.h>

#include <set>
#include <sstream>

namespace weir::test {
namespace {

// "list pods", …
std::set<std::string> rights_granted() {
  std::set<std::string> rights;
  const YAML::Node role = YAML::LoadAll(read_file(WEIR_EXAMPLES "/kubernetes/base/rbac.yaml"))[0];
  for (const auto& rule : role["rules"]) {
    for (const auto& resource : rule["resources"]) {
      for (const auto& verb : rule["verbs"]) {
        rights.insert(verb.as<std::string>() + " " + resource.as<std::string>());
      }
    }
  }
  return rights;
}

std::set<std::string> rights_used(const Cluster& cluster) {
  std::set<std::string> rights;
  std::istringstream lines(read_file(cluster.lab.folder() / "kube/audit.log"));
  for (std::string line; std::getline(lines, line) && !lines.eof();) { // whole lines
    const auto event = boost::json::parse(line);
    rights.insert(boost::json::value_to<std::string>(event.at("verb")) + " " +
                  boost::json::value_to<std::string>(event.at("objectRef").at("resource")));
  }
  return rights;
}

void go_on_without_server(Cluster& cluster) {
  // The state folder has it all a moment later.
  CHECK(eventually([&] {
    return read_file(cluster.lab.folder() / "state/cluster.json").find("web-ingress") !=
           std::string::npos;
  }));

  cluster.api.stop_server();
  CHECK(
      eventually([&] { return cluster.ready().starts_with("200 LIVE, degraded: kubernetes: "); }));
  CHECK(cluster.get("/admin", "5") == 403);
  CHECK(cluster.get("/discount", "5") == 200);

  cluster.lab.kill_weir();
  CHECK(cluster.get("/discount") == 0); // nobody is there to judge it
  cluster.lab.start_weir();             // waits for /ready
  CHECK(eventually([&] { return cluster.ready().starts_with("200 LIVE, degraded: "); }));
  CHECK(cluster.get("/admin", "5") == 403);
  CHECK(cluster.get("/discount", "5") == 200);
  const auto metrics = cluster.lab.admin("/stats/prometheus");
  REQUIRE(metrics);
  CHECK(metrics->body.find("weir_kubernetes_degraded 1") != std::string::npos);

  cluster.api.start_server();
  CHECK(eventually([&] { return cluster.ready() == "200 LIVE\n"; }, std::chrono::seconds(60)));
  cluster.relabel(cluster.client, "stranger");
  CHECK(cluster.becomes("/discount", 0));
  cluster.relabel(cluster.client, "client");
  CHECK(cluster.becomes("/discount", 200));
}

void list_anew_what_is_forgotten(Cluster& cluster) {
  // What happens while the watches are cut is in no watch that could go on: 410.
  cluster.api.stop_server();
  cluster.api.start_server();
  cluster.relabel(cluster.client, "stranger");
  cluster.api.compact();
  // It asks again the later, the longer the server was away.
  CHECK(eventually([&] { return cluster.ready() == "200 LIVE\n"; }, std::chrono::seconds(60)));
  CHECK(cluster.becomes("/discount", 0));
}

void take_up_an_exchanged_token(Cluster& cluster) {
  // The token in the file is worth nothing any more; then kubelet would exchange it.
  cluster.api.revoke_tokens();
  cluster.api.stop_server();
  cluster.api.start_server();
  CHECK(eventually([&] { return cluster.ready().find("401") != std::string::npos; },
                   std::chrono::seconds(60)));
  CHECK(cluster.get("/discount") == 0);
  cluster.api.write_token();
  CHECK(eventually([&] { return cluster.ready() == "200 LIVE\n"; }, std::chrono::seconds(60)));
  cluster.relabel(cluster.client, "client");
  CHECK(cluster.becomes("/discount", 200));
}

TEST_CASE("an API server that is away, has forgotten or refuses costs news, never enforcement") {
  require_kube_api();
  Cluster cluster;
  cluster.api.install_kinds();
  cluster.api.must("POST", kPolicies, kHttpIngress);
  cluster.lab.start_weir();
  CHECK(cluster.becomes("/admin", 403));
  go_on_without_server(cluster);
  list_anew_what_is_forgotten(cluster);
  take_up_an_exchanged_token(cluster);
  // weir may do what its manifest grants, and the manifest grants what it does.
  CHECK(rights_used(cluster) == rights_granted());
}

} // namespace
} // namespace weir::test
