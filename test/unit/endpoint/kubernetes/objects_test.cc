#include "proxy/endpoint/kubernetes/objects.h"

#include "policy-compiler/compile.h"
#include "proxy/endpoint/kubernetes/access.h"
#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>

namespace weir::test {
namespace {

using namespace endpoint::kubernetes;

boost::json::object parse(const char* text) { return boost::json::parse(text).as_object(); }

TEST_CASE("a pod's needed fields are read and the rest is passed over") {
  const auto pod = read_pod(parse(R"({
    "metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"},
                 "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z"},
    "spec": {"nodeName": "node-a", "serviceAccountName": "seller", "containers": [
      {"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}, {"name": "big", "containerPort": 70000}]}]},
    "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}})"));
  CHECK(pod.spec.pod_namespace + "/" + pod.spec.name == "shop/web-1");
  CHECK(pod.spec.labels == endpoint::PlainLabels{{"app", "web"}});
  CHECK(pod.spec.service_account == "seller");
  REQUIRE(pod.spec.addresses.size() == 2);
  CHECK(pod.spec.addresses[1].to_string() == "fd00::1");
  REQUIRE(pod.spec.named_ports.size() == 1);
  CHECK(pod.spec.named_ports[0].port == 8080);
  CHECK(pod.node == "node-a");
  CHECK(pod.terminating);
  CHECK_FALSE(pod.ended);
}

TEST_CASE("a pod of nothing but wrong kinds reads as an empty one") {
  const auto pod = read_pod(parse(R"({"metadata": [], "spec": {"containers": [1, {"ports": {}}],
    "hostNetwork": "yes"}, "status": {"podIPs": [{"ip": 4}, "x"], "podIP": "::ffff:1.2.3.4"}})"));
  CHECK(pod.spec.addresses.empty());
  CHECK(pod.spec.named_ports.empty());
  CHECK_FALSE(pod.host_network);
  CHECK(key_of(parse("{}")).empty());
}

TEST_CASE("a policy object goes through the policy reader as a file would") {
  const auto object = parse(R"({
    "metadata": {"name": "api", "namespace": "shop", "uid": "1", "managedFields": [{"x": {}}]},
    "spec": {"endpointSelector": {"matchLabels": {"app": "web"}},
             "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}],
               "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}],
                            "rules": {"http": [{"method": "GET", "path": "/a\u0022\\.b"}]}}]}]}})");
  const auto text = policy_text(object, "cilium.io/v2", "CiliumNetworkPolicy");
  const auto documents = policy::parse_policies("shop/api", text);
  REQUIRE(documents.size() == 1);
  INFO(text << (documents[0].diagnostics.empty() ? "" : documents[0].diagnostics[0].text()));
  CHECK(documents[0].policy != nullptr);
  CHECK(documents[0].document_namespace + "/" + documents[0].name == "shop/api");
}

TEST_CASE("a kubeconfig that would give secrets or trust away is refused") {
  const TempFolder folder;
  const std::string path = folder.file("kubeconfig");
  const auto read = [&](const std::string& cluster, const std::string& user) {
    std::ofstream(path) << "clusters: [{name: c, cluster: {" << cluster
                        << "}}]\nusers: [{name: u, user: {" << user
                        << "}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
                           "current-context: x\n";
    return read_access(path);
  };
  CHECK(read("server: \"https://[::1]:6443\"", "token: t")->host == "::1");
  CHECK(read("server: \"https://api.example.test\"", "token: t")->port == "443");
  CHECK_FALSE(read("server: \"http://127.0.0.1:1\"", "token: t").has_value());
  CHECK_FALSE(
      read("server: \"https://127.0.0.1:1\", insecure-skip-tls-verify: true", "").has_value());
  CHECK_FALSE(read("server: \"https://127.0.0.1:1\"", "exec: {command: x}").has_value());
  CHECK_FALSE(read("server: \"https://127.0.0.1:1/x\"", "").has_value());
  CHECK_FALSE(read("server: \"https://a\"", "token: \"a\\r\\nb\"").has_value());
}

TEST_CASE("a token file is read anew for every connection") {
  const TempFolder folder;
  const std::string path = folder.file("kubeconfig");
  std::ofstream(path) << "clusters: [{name: c, cluster: {server: \"https://a\"}}]\n"
                         "users: [{name: u, user: {tokenFile: token}}]\n"
                         "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
                         "current-context: x\n";
  std::ofstream(folder.file("token")) << "first\n";
  CHECK(read_access(path)->token == "first");
  std::ofstream(folder.file("token")) << "second\n";
  CHECK(read_access(path)->token == "second");
}

} // namespace
} // namespace weir::test
