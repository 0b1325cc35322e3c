// kill -9 of weir-proxy: what was forbidden stays forbidden, without a gap; what was learned stays.
#include "test/integration/forbidden.h"
#include "test/integration/policies.h"
#include "test/integration/shop.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

namespace weir::test {
namespace {

constexpr auto kShort = std::chrono::milliseconds(30);

TEST_CASE("S1: while weir is killed and restarted nothing forbidden gets through") {
  require_root();
  Shop shop;
  auto& [lab, client, stranger, web] = shop;
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
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
    const Sentinels sentinels = attempt_forbidden(client, stranger, web, kShort);
    for (int round = 0; round < 3; ++round) {
      REQUIRE(all_attempted(sentinels, 5));
      lab.kill_weir();
      REQUIRE(all_attempted(sentinels, 20));
      lab.start_weir();
      REQUIRE(all_attempted(sentinels, 5));
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
  Shop shop;
  auto& [lab, client, stranger, web] = shop;
  const bool by_filters = GENERATE(false, true);
  if (by_filters) {
    lab.hide_tcx();
    lab.confine({"BPF", "NET_ADMIN", "NET_RAW", "PERFMON"}); // they want no more
  }
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
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
    const Sentinels sentinels = attempt_forbidden(client, stranger, web, kShort);
    for (int round = 0; round < (by_filters ? 2 : 4); ++round) {
      const bool orderly = round % 2 == 0;
      INFO("orderly end: " << orderly);
      REQUIRE(all_attempted(sentinels, 5));
      if (orderly) {
        lab.stop_weir();
      } else {
        lab.kill_weir();
      }
      std::filesystem::rename(own, pins / "v999");
      REQUIRE(all_attempted(sentinels, 10));
      lab.start_weir();
      CHECK_FALSE(std::filesystem::exists(pins / "v999")); // nothing of the other is left
      CHECK(links_of() == links);
      REQUIRE(all_attempted(sentinels, 5));
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
