// The admin address of a running weir, as pods see it.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::test {
namespace {

TEST_CASE("A1: no pod reaches the admin address, whichever of the node's addresses it asks") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}}); // the policy is this one's
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.start_weir();
  REQUIRE(lab.await_ready()); // it is there, for the node itself
  const Outcome sockets = lab.node().run({"/usr/bin/ss", "-Hltn", "sport = :9931"});
  INFO(sockets.text());
  CHECK(sockets.out.find(" 127.0.0.1:9931 ") != std::string::npos);
  CHECK(std::count(sockets.out.begin(), sockets.out.end(), '\n') == 1);
  for (const Pod* pod : {&client, &web}) {
    for (const char* address : {"172.31.0.1", "[fd00:172:31::1]", "169.254.1.1"}) {
      const CurlResult result =
          pod->curl({"--max-time", "1", std::string("http://") + address + ":9931/config_dump"});
      INFO(pod->full_name() << " " << address << " " << result.text);
      CHECK(result.exit_code != 0);
      CHECK(result.status == 0);
    }
  }
}

} // namespace
} // namespace weir::test
