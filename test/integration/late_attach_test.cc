// An interface that appears while weir runs.
#include "test/integration/policies.h"
#include "test/integration/sentinel.h"
#include "test/support/lab.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>

namespace weir::test {
namespace {

std::string state_of(Lab& lab, const std::string& name) {
  const boost::json::value endpoints = lab.admin_json("/endpoints");
  for (const auto& row : endpoints.as_array()) {
    if (boost::json::value_to<std::string>(row.at("name")) == name) {
      return boost::json::value_to<std::string>(row.at("state"));
    }
  }
  return "";
}

TEST_CASE("S2: an interface that appears after start is enforced before its first packet passes") {
  require_root();
  Lab lab;
  if (GENERATE(false, true)) {
    lab.hide_tcx();
  }
  Pod& late = lab.add_pod({"shop", "late", {{"app", "client"}}}, false);
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.start_weir();
  CHECK(state_of(lab, "late") == "detached");

  // The pod's side of the veth is made and brought up by lab.connect_pod(); what the pod would
  // send the moment its address is there is tried from before that until well after.
  Sentinel eager([&] {
    auto connection =
        HttpConnection::open(late.netns(), kOtherV4, 80, std::chrono::milliseconds(20));
    return connection && connection->request({.target = "/early"}).has_value();
  });
  lab.connect_pod(late);
  CHECK(eventually([&] { return state_of(lab, "late") == "enforced"; }));
  const unsigned before = eager.attempts();
  CHECK(eventually([&] { return eager.attempts() >= before + 20; }));
  eager.stop();
  CHECK(eager.passed() == 0);
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  for (const std::string& line : lab.world_http().requests_before("/end")) {
    CHECK(line.find("/early") == std::string::npos);
  }
  // Enforced means its policy, not silence.
  const CurlResult allowed =
      late.curl({"--max-time", "5", std::string("http://") + kAllowedName + "/"});
  INFO(allowed.text);
  CHECK(allowed.status == 200);
}

TEST_CASE("S2: a pod that appears while weir cannot look sends nothing to anybody") {
  require_root();
  Lab lab;
  if (GENERATE(false, true)) {
    lab.use_bridge(true);
  }
  Pod& late = lab.add_pod({"shop", "late", {{"app", "client"}}}, false);
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.start_weir();
  lab.weir().send_signal(SIGSTOP);
  lab.connect_pod(late);
  // Each would have its handshake: the answers find the pod's interface without programs, too.
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const std::string& address :
         {other_address(family), allowed_address(family), web.address(family)}) {
      INFO(address);
      CHECK_FALSE(HttpConnection::open(late.netns(), address, 80, std::chrono::milliseconds(200)));
    }
  }
  lab.weir().send_signal(SIGCONT);
  CHECK(eventually([&] { return state_of(lab, "late") == "enforced"; }));
  const std::string page = lab.admin("/stats/prometheus").value().body;
  const std::string series = "weir_drops_total{reason=\"no_program\",direction=\"egress\"} ";
  const auto found = page.find(series);
  REQUIRE(found != std::string::npos);
  CHECK(std::stoul(page.substr(found + series.size())) >= 6);
  const CurlResult allowed =
      late.curl({"--max-time", "5", std::string("http://") + kAllowedName + "/"});
  INFO(allowed.text);
  CHECK(allowed.status == 200);
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  CHECK(lab.world_http().requests_before("/end").size() == 1);
  CHECK(web.curl({"http://127.0.0.1/end"}).status == 200);
  CHECK(server.requests_before("/end").empty());
}

TEST_CASE("an interface that is replaced by another of the same name is enforced again") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.start_weir();
  const std::string url = std::string("http://") + kAllowedName + "/";
  CHECK(client.curl({"--max-time", "5", url}).status == 200);
  lab.node().ip({"link delete " + client.interface()});
  CHECK(eventually([&] { return state_of(lab, "client") == "detached"; }));
  lab.connect_pod(client);
  CHECK(eventually([&] { return state_of(lab, "client") == "enforced"; }));
  CHECK(client.curl({"--max-time", "5", url}).status == 200);
  CHECK(client.curl({"--max-time", "1", std::string("http://") + kOtherV4 + "/"}).exit_code ==
        kCurlTimeout);
}

} // namespace
} // namespace weir::test
