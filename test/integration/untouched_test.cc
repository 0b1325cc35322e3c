// A pod that no policy selects keeps its own connections: weir is beside them, not in them.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/serialize.hpp>
#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

TEST_CASE("a pod that no policy selects is not redirected") {
  require_root();
  Lab lab;
  lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& free_pod = lab.add_pod({"shop", "free", {{"app", "free"}}});
  Pod& peer = lab.add_pod({"shop", "peer", {{"app", "peer"}}});
  lab.serve_http(peer);
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnEgress}});
  lab.start_weir();

  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const std::string& address : {other_address(family), peer.address(family)}) {
      INFO(address);
      const std::string url = "http://" + url_host(address) + "/";
      // The server sees the very port that the client's socket has: nobody stands between them.
      const CurlResult reply = free_pod.curl(
          {"--max-time", "5", "-D", "/dev/stderr", "-w", "port=%{local_port}\n%{http_code}", url});
      INFO(reply.text);
      CHECK(reply.status == 200);
      const std::size_t port = reply.body.find("port=");
      REQUIRE(port != std::string::npos);
      CHECK(reply.text.find("x-client-port: " + reply.body.substr(port + 5) + "\r") !=
            std::string::npos);
    }
    const Outcome dig = free_pod.dig({"@" + dns_address(family), "+short", kOtherName});
    INFO(dig.text());
    CHECK(dig.out == std::string(kOtherV4) + "\n");
  }
  lab.stop_weir(); // the log is complete then
  for (const auto& record : lab.access_log()) {
    const std::string line = boost::json::serialize(record);
    INFO(line);
    CHECK(line.find("\"pod\":\"free\"") == std::string::npos);
  }
}

TEST_CASE("with no policy at all nothing is redirected and nothing is dropped") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  lab.policies().publish({{"empty.yaml", "# no policy yet\n"}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    CHECK(
        client.curl({"--max-time", "5", "http://" + url_host(web.address(family)) + "/"}).status ==
        200);
    CHECK(client.curl({"--max-time", "5", "http://" + url_host(other_address(family)) + "/"})
              .status == 200);
  }
  lab.stop_weir();
  CHECK(lab.access_log().empty());
}

} // namespace
} // namespace weir::test
