// weirctl connectivity test against a node that does what its policies say, and one that does not.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json.hpp>
#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

namespace weir::test {
namespace {

namespace json = boost::json;

constexpr auto kMore = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
  ingressDeny:
    - fromEndpoints: [{matchLabels: {app: other}}]
      toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: stranger, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: other}}
  egress:
    - toEndpoints: [{matchLabels: {app: secure}}]
      toPorts: [{ports: [{port: "443", protocol: TCP}], serverNames: [www.example.com]}]
    - toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system}}]
      toPorts:
        - ports: [{port: "53", protocol: ANY}]
          rules: {dns: [{matchName: api.example.test}]}
    - toEndpoints: [{matchLabels: {app: db}}]
      toPorts: [{ports: [{port: "5432", protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: post, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: secure}}
  ingress:
    - fromEndpoints: [{}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - fromEndpoints: [{}]
      toPorts: [{ports: [{port: "81", protocol: TCP}], rules: {http: [{method: POST, path: /order}]}}]
)";

struct Shop {
  Lab lab;
  HttpServer* web_server = nullptr;
  Pod* web = nullptr;

  Shop() {
    lab.add_pod({"shop", "client", {{"app", "client"}}});
    lab.add_pod({"shop", "stranger", {{"app", "other"}}});
    lab.add_pod({"shop", "db", {{"app", "db"}}});
    Pod& secure = lab.add_pod({"shop", "secure", {{"app", "secure"}}});
    web = &lab.add_pod({"shop", "web", {{"app", "web"}}});
    web_server = &lab.serve_http(*web);
    lab.serve_http(secure, 443);
    lab.policies().publish({{"web.yaml", kHttpIngress}, {"more.yaml", kMore}});
    lab.start_weir();
  }

  // Each probe has as long as a busy machine may take to answer one that is allowed.
  Outcome test(const std::string& junit) {
    return lab.weirctl(
        {"connectivity", "test", "--timeout", "5000", "-o", "json", "--junit", junit});
  }
  // Rows of the command's own table.
  json::array rows(const Outcome& outcome) {
    INFO(outcome.text());
    const json::value parsed = json::parse(outcome.out);
    REQUIRE(parsed.is_array());
    return parsed.get_array();
  }
};

std::string text(const json::value& row, const char* key) {
  return std::string(row.at(key).as_string());
}

// "RESULT rule: what it does is EXPECTED", without addresses.
std::set<std::string> summary(const json::array& rows) {
  std::set<std::string> out;
  for (const auto& row : rows) {
    const std::string probe = text(row, "probe");
    out.insert(text(row, "result") + " " + text(row, "rule") + ": " + text(row, "from") + " " +
               probe.substr(0, probe.rfind(' ')) + " " + text(row, "expected"));
  }
  return out;
}

TEST_CASE("a node that does what its policies say passes, and nothing is sent that may change "
          "anything") {
  require_root();
  Shop shop;
  const Outcome planned = shop.lab.weirctl({"connectivity", "test", "--dry-run", "-o", "json"});
  CHECK(planned.exit_code == 0);
  const auto junit = (shop.lab.folder() / "results.xml").string();
  const Outcome outcome = shop.test(junit);
  INFO(outcome.text());
  CHECK(outcome.exit_code == 0);
  const json::array rows = shop.rows(outcome);
  const auto told = summary(rows);
  INFO(json::serialize(rows));
  const std::set<std::string> wanted = {
      "ok shop/web-ingress ingress rule 1: shop/client GET /discount to shop/web allowed",
      "ok shop/web-ingress ingress rule 1: shop/client GET /discountweir-connectivity-test to "
      "shop/web denied",
      "ok shop/db ingress rule 1: shop/client connect to shop/db allowed",
      "ok shop/db ingress rule 1: shop/client connect to shop/db denied",
      "ok shop/db ingressDeny rule 1: shop/stranger connect to shop/db denied",
      "ok shop/stranger egress rule 1: shop/stranger TLS www.example.com to shop/secure allowed",
      "ok shop/stranger egress rule 1: shop/stranger TLS weir-connectivity-test.www.example.com to "
      "shop/secure denied",
      "ok shop/stranger egress rule 2: shop/stranger DNS api.example.test to kube-system/dns "
      "allowed",
      "ok shop/stranger egress rule 2: shop/stranger DNS weir-connectivity-test.api.example.test "
      "to kube-system/dns denied"};
  for (const auto& one : wanted) {
    CAPTURE(one);
    CHECK(told.contains(one));
  }
  CHECK(std::any_of(told.begin(), told.end(), [](const auto& one) {
    return one.starts_with("skipped shop/post ingress rule 2");
  }));
  // What was planned is what was sent.
  CHECK(shop.rows(planned).size() == rows.size());
  const std::string xml = read_file(junit);
  CHECK(xml.find("failures=\"0\"") != std::string::npos);
  CHECK(xml.find("<testcase classname=\"shop/db ingress rule 1\"") != std::string::npos);
  CHECK(shop.web->curl({"http://127.0.0.1/marker"}).status == 200);
  const auto requests = shop.web_server->requests_before("/marker");
  CHECK(requests.size() == 1); // the allowed one
}

TEST_CASE("a data path that does not do what policy says is found") {
  require_root();
  Shop shop;
  // As if somebody had taken weir's programs off the interfaces.
  unsigned detached = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(shop.lab.bpffs())) {
    if (entry.path().parent_path().filename() == "links") {
      const UniqueFd link(bpf_obj_get(entry.path().c_str()));
      detached += link.valid() && bpf_link_detach(link.get()) == 0 ? 1 : 0;
    }
  }
  REQUIRE(detached > 0);
  const auto junit = (shop.lab.folder() / "results.xml").string();
  const Outcome outcome = shop.test(junit);
  INFO(outcome.text());
  CHECK(outcome.exit_code == 1);
  const auto told = summary(shop.rows(outcome));
  CHECK(told.contains("FAILED shop/web-ingress ingress rule 1: shop/client GET "
                      "/discountweir-connectivity-test to shop/web denied"));
  CHECK(
      told.contains("FAILED shop/db ingressDeny rule 1: shop/stranger connect to shop/db denied"));
  CHECK(read_file(junit).find("<failure message=\"allowed: ") != std::string::npos);
}

TEST_CASE("without a running weir there is nothing to find") {
  require_root();
  Lab lab;
  CHECK(lab.weirctl({"connectivity", "test"}).exit_code == 2);
}

} // namespace
} // namespace weir::test
