// kill -9 of weir-proxy: what was forbidden stays forbidden, without a gap; what was learned stays.
#include "test/integration/policies.h"
#include "test/integration/sentinel.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

namespace weir::test {
namespace {

constexpr auto kShort = std::chrono::milliseconds(30);

// One connection and, if that comes about, one request. Through is what the server answered.
bool gets_through(const Pod& pod, const std::string& address, const HttpRequest& request) {
  auto connection = HttpConnection::open(pod.netns(), address, 80, kShort);
  if (!connection) {
    return false;
  }
  const auto reply = connection->request(request);
  return reply && reply->status == 200;
}

bool attempted(const Sentinel& sentinel, unsigned more) {
  const unsigned before = sentinel.attempts();
  return eventually([&] { return sentinel.attempts() >= before + more; });
}

TEST_CASE("S1: while weir is killed and restarted nothing forbidden gets through") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  std::string egress = kFqdnEgress; // the client also needs to reach the web pod
  egress += "    - toEndpoints:\n        - matchLabels:\n            app: web\n";
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", egress}});
  lab.start_weir();

  for (const Family family : {Family::kV4, Family::kV6}) {
    CHECK(client
              .dig({"@" + dns_address(family), "+short", kAllowedName,
                    family == Family::kV4 ? "A" : "AAAA"})
              .out == allowed_address(family) + "\n");
    CHECK(client.curl({"--max-time", "5", "http://" + url_host(allowed_address(family)) + "/"})
              .status == 200);
  }
  {
    std::vector<std::unique_ptr<Sentinel>> sentinels;
    for (const Family family : {Family::kV4, Family::kV6}) {
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(stranger, web.address(family), {.target = "/discount?stranger"});
      }));
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(client, web.address(family),
                            {.method = "POST", .target = "/discount?denied"});
      }));
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(client, other_address(family), {.target = "/forbidden"});
      }));
    }
    const auto all_attempted = [&](unsigned more) {
      for (const auto& sentinel : sentinels) {
        if (!attempted(*sentinel, more)) {
          return false;
        }
      }
      return true;
    };
    for (int round = 0; round < 3; ++round) {
      REQUIRE(all_attempted(5));
      lab.kill_weir();
      REQUIRE(all_attempted(20));
      lab.start_weir();
      REQUIRE(all_attempted(5));
    }
    unsigned attempts = 0;
    for (const auto& sentinel : sentinels) {
      sentinel->stop();
      attempts += sentinel->attempts();
      CHECK(sentinel->passed() == 0);
    }
    WARN(attempts << " forbidden attempts during three kills and restarts");
  }

  // The servers are the witnesses: an answer that did not come back in time would count too.
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  CHECK(server.requests_before("/end").empty());
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  for (const std::string& line : lab.world_http().requests_before("/end")) {
    CHECK(line.find("/forbidden") == std::string::npos);
  }
  // And what is allowed works again, by the addresses learned before the first kill: no new query.
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    CHECK(client.curl({"--max-time", "5", "http://" + url_host(allowed_address(family)) + "/"})
              .status == 200);
    CHECK(client.curl({"--max-time", "5", "http://" + url_host(web.address(family)) + "/discount"})
              .status == 200);
  }
}

TEST_CASE("S1: while weir is away a redirected flow gets no answer from the server behind it") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.start_weir();
  lab.kill_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    CHECK(client.curl({"--max-time", "1", "http://" + url_host(web.address(family)) + "/discount"})
              .status == 0);
  }
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  CHECK(server.requests_before("/end").empty());
}

TEST_CASE(
    "S5: through upgrade and downgrade to another map schema nothing forbidden gets through") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  std::string egress = kFqdnEgress;
  egress += "    - toEndpoints:\n        - matchLabels:\n            app: web\n";
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", egress}});
  lab.start_weir();
  CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  // What a version with another schema leaves: pins in a folder of its own. Its programs, on its
  // maps, go on judging until the next version has taken their links over.
  const std::filesystem::path pins = lab.bpffs() / "weir";
  std::filesystem::path own;
  for (const auto& entry : std::filesystem::directory_iterator(pins)) {
    own = entry.path();
  }
  REQUIRE(own.filename().string().starts_with("v"));
  const auto links_of = [&] {
    std::set<std::string> links;
    for (const auto& entry : std::filesystem::directory_iterator(own / "links")) {
      links.insert(entry.path().filename());
    }
    return links;
  };
  const auto links = links_of();
  CHECK_FALSE(links.empty());
  {
    std::vector<std::unique_ptr<Sentinel>> sentinels;
    for (const Family family : {Family::kV4, Family::kV6}) {
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(stranger, web.address(family), {.target = "/discount?stranger"});
      }));
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(client, web.address(family),
                            {.method = "POST", .target = "/discount?denied"});
      }));
      sentinels.push_back(std::make_unique<Sentinel>([&, family] {
        return gets_through(client, other_address(family), {.target = "/forbidden"});
      }));
    }
    const auto all_attempted = [&](unsigned more) {
      return std::all_of(sentinels.begin(), sentinels.end(),
                         [&](const auto& sentinel) { return attempted(*sentinel, more); });
    };
    for (const bool orderly : {true, false, true, false}) {
      INFO("orderly end: " << orderly);
      REQUIRE(all_attempted(5));
      if (orderly) {
        lab.stop_weir();
      } else {
        lab.kill_weir();
      }
      std::filesystem::rename(own, pins / "v999");
      REQUIRE(all_attempted(10));
      lab.start_weir();
      CHECK_FALSE(std::filesystem::exists(pins / "v999")); // nothing of the other is left
      CHECK(links_of() == links);
      REQUIRE(all_attempted(5));
      for (const Family family : {Family::kV4, Family::kV6}) {
        CHECK(
            client
                .curl({"--max-time", "5", "http://" + url_host(web.address(family)) + "/discount"})
                .status == 200);
      }
      // By the address learned before: the state folder has it.
      CHECK(client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status ==
            200);
    }
    for (const auto& sentinel : sentinels) {
      sentinel->stop();
      CHECK(sentinel->passed() == 0);
    }
  }
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : server.requests_before("/end")) {
    CHECK(line.ends_with("GET /discount 200"));
  }
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  for (const std::string& line : lab.world_http().requests_before("/end")) {
    CHECK(line.find("/forbidden") == std::string::npos);
  }
}

} // namespace
} // namespace weir::test
