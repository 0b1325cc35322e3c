// Policies exchanged under load: no request is lost, and none is judged by half of each.
#include "test/integration/attempts.h"
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/serialize.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <list>
#include <thread>

namespace weir::test {
namespace {

// Both sets allow /a and /b, but each file allows the other one in each set: whoever mixed one file
// of the first set with one of the second would refuse /a or /b. /1 and /2 tell the sets apart.
const std::map<std::string, std::string> kSets[2] = {
    {{"x.yaml", http_paths("first", "/a|/1")}, {"y.yaml", http_paths("second", "/b")}},
    {{"x.yaml", http_paths("first", "/b|/2")}, {"y.yaml", http_paths("second", "/a")}},
};

TEST_CASE(
    "S3: 1,000 requests on kept-alive connections survive policy swaps, judged by whole sets") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  lab.policies().publish(kSets[0]);
  lab.start_weir();

  constexpr unsigned kConnections = 8, kRequests = 1000, kSwaps = 6;
  std::atomic<unsigned> answered{0}, lost{0}, mixed{0}, wrongly_allowed{0};
  const auto ask = [&](Family family, const Attempts& made) {
    auto connection = HttpConnection::open(client.netns(), web.address(family), 80);
    lost += connection ? 0 : 1;
    for (unsigned i = 0; connection && (!made.stopped() || i < kRequests / kConnections); ++i) {
      const bool forbidden = i % 8 == 7;
      const auto reply =
          connection->request({.target = forbidden ? "/never" : (i % 2 == 0 ? "/a" : "/b")});
      if (!reply) {
        ++lost;
        return;
      }
      ++answered;
      if (forbidden && reply->status != 403) {
        ++wrongly_allowed;
      } else if (!forbidden && reply->status != 200) {
        ++mixed;
      }
    }
  };
  std::list<Attempts> asking;
  for (unsigned i = 0; i < kConnections; ++i) {
    const Family family = i % 2 == 0 ? Family::kV4 : Family::kV6;
    asking.emplace_back([&ask, family](const Attempts& made) { ask(family, made); });
  }
  auto probe = HttpConnection::open(client.netns(), web.address(Family::kV4), 80);
  bool all_taken = probe.has_value();
  for (unsigned swap = 1; all_taken && swap <= kSwaps; ++swap) {
    lab.policies().publish(kSets[swap % 2]);
    all_taken = eventually([&] {
      const auto reply = probe->request({.target = swap % 2 == 0 ? "/1" : "/2"});
      return reply && reply->status == 200;
    });
  }
  asking.clear();
  CHECK(all_taken);
  CHECK(lost == 0);
  CHECK(mixed == 0);
  CHECK(wrongly_allowed == 0);
  CHECK(answered >= kRequests);
  WARN(answered << " requests during " << kSwaps << " swaps");
}

// WEIR_RELOAD_SECONDS=600 is what the checklist asks for.
std::chrono::seconds reload_time() {
  const char* const wanted = std::getenv("WEIR_RELOAD_SECONDS");
  return std::chrono::seconds(wanted != nullptr ? std::atoi(wanted) : 4);
}

// Port 8080 is open to the client by one of two policies, never by both and never by none; 8081 is
// open to nobody.
std::map<std::string, std::string> with_port(unsigned which) {
  auto files = kSets[which];
  const std::string open = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: "
                           "port, namespace: shop}\nspec:\n  endpointSelector: {matchLabels: "
                           "{app: web}}\n  ingress:\n    - fromEndpoints: [{matchLabels: {app: "
                           "client}}]\n      toPorts: [{ports: [{port: \"8080\"}]}]\n";
  files[which == 0 ? "x.yaml" : "y.yaml"] += "---\n" + open;
  return files;
}

std::uint64_t revision(Lab& lab) {
  return lab.admin_json("/server_info").at("policy_revision").to_number<std::uint64_t>();
}

TEST_CASE("S3: policies exchanged a hundred times a second give no wrong verdict") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& judged = lab.serve_http(web, 80);
  lab.serve_http(web, 8080);
  HttpServer& closed = lab.serve_http(web, 8081);
  lab.policies().publish(with_port(0));
  lab.start_weir();
  const std::uint64_t first = revision(lab);

  std::atomic<unsigned> requests{0}, connections{0}, lost{0}, refused{0}, let_through{0};
  const auto ask = [&](Family family, const Attempts& made) {
    auto connection = HttpConnection::open(client.netns(), web.address(family), 80);
    for (unsigned i = 0; connection && !made.stopped(); ++i) {
      const bool forbidden = i % 4 == 3;
      const auto reply =
          connection->request({.target = forbidden ? "/never" : (i % 2 == 0 ? "/a" : "/b")});
      lost += reply ? 0 : 1;
      if (!reply) {
        return;
      }
      refused += !forbidden && reply->status != 200 ? 1 : 0;
      let_through += forbidden && reply->status != 403 ? 1 : 0;
      ++requests;
    }
  };
  // A SYN that is wrongly dropped would be sent again: the kernel's word is asked for below.
  const auto connect_anew = [&](Family family, const Attempts& made) {
    while (!made.stopped()) {
      auto connection = HttpConnection::open(client.netns(), web.address(family), 8080);
      const auto reply =
          connection ? connection->request({.target = "/open"}) : std::optional<HttpReply>{};
      lost += reply && reply->status == 200 ? 0 : 1;
      ++connections;
      std::this_thread::sleep_for(std::chrono::milliseconds(5)); // ports come back after a minute
    }
  };
  const auto knock = [&](Family family, const Attempts& made) {
    while (!made.stopped()) {
      if (HttpConnection::open(client.netns(), web.address(family), 8081,
                               std::chrono::milliseconds(20))) {
        ++let_through;
      }
    }
  };
  std::list<Attempts> trying;
  for (const Family family : {Family::kV4, Family::kV6}) {
    trying.emplace_back([&ask, family](const Attempts& made) { ask(family, made); });
    trying.emplace_back(
        [&connect_anew, family](const Attempts& made) { connect_anew(family, made); });
    trying.emplace_back([&knock, family](const Attempts& made) { knock(family, made); });
  }
  const auto begun = std::chrono::steady_clock::now();
  unsigned published = 0;
  for (auto next = begun; next < begun + reload_time(); next += std::chrono::milliseconds(10)) {
    std::this_thread::sleep_until(next); // the pace is what is tested
    lab.policies().publish(with_port(++published % 2));
    const auto reply = lab.admin("/reload", "POST");
    REQUIRE(reply);
    REQUIRE(reply->status == 200);
  }
  trying.clear();
  const auto seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  CHECK(lost == 0);
  CHECK(refused == 0);
  CHECK(let_through == 0);
  CHECK(requests > 0);
  CHECK(connections > 0);
  // Of drops there are those at the closed port and no others.
  const auto drops = lab.admin_json("/flows?verdict=DROPPED");
  for (const auto& row : drops.as_array()) {
    INFO(boost::json::serialize(row));
    CHECK(row.at("destination").at("port").to_number<unsigned>() == 8081);
  }
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1:8081/end"}).status == 200);
  CHECK(closed.requests_before("/end").empty());
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : judged.requests_before("/end")) {
    CHECK(line.find("/never") == std::string::npos);
  }
  WARN(revision(lab) - first << " policies in " << seconds << " s; " << requests << " requests and "
                             << connections << " connections judged");
}

} // namespace
} // namespace weir::test
