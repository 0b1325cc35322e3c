// A gRPC server and a gRPC client of Debian's, with weir between them on the transparent path.
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <csignal>

namespace weir::test {
namespace {

constexpr const char* kPolicy = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: grpc, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "50051", protocol: TCP}]
          rules: {http: [{method: POST, path: "/pkg.Svc/Ok(Stream)?"}]}
)";

TEST_CASE("X10: gRPC calls pass by their path, and a denied one ends with PERMISSION_DENIED") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.policies().publish({{"grpc.yaml", kPolicy}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const std::string address = url_host(web.address(family)) + ":50051";
    INFO(address);
    const std::string output = lab.folder() / ("grpc" + to_string(family));
    Process server =
        web.netns().start({"/usr/bin/python3", WEIR_GRPC_PAIR, "serve", address}, output);
    REQUIRE(eventually([&] { return read_file(output).find("ready") != std::string::npos; }));
    const auto call = [&](const std::string& method) {
      const Outcome outcome =
          client.netns().run({"/usr/bin/python3", WEIR_GRPC_PAIR, "call", address, method, "200"});
      UNSCOPED_INFO(outcome.text());
      return outcome.out;
    };
    CHECK(call("Ok") == "OK re:hello\nOK 2000600\n");
    CHECK(call("No") == "PERMISSION_DENIED Access denied\nPERMISSION_DENIED Access denied\n");
    const Outcome mixed =
        client.netns().run({"/usr/bin/python3", WEIR_GRPC_PAIR, "mix", address, "200"});
    INFO(mixed.text());
    CHECK(mixed.out == "OK 200 PERMISSION_DENIED 200\n");
    server.send_signal(SIGKILL);
    CHECK(server.wait(std::chrono::seconds(5)));
  }
}

} // namespace
} // namespace weir::test
