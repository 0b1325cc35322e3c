// kill -9 again and again under load, with and without an exchange of versions: nothing forbidden
// gets through at any millisecond, and what is allowed comes back.
#include "test/integration/policies.h"
#include "test/integration/sentinel.h"
#include "test/integration/shop.h"
#include "test/integration/steady_attempts.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace weir::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::milliseconds(100);
constexpr unsigned kSecond = 1000; // of an attempt a millisecond

std::chrono::seconds kill_time() {
  const char* const wanted = std::getenv("WEIR_KILL_SECONDS");
  return std::chrono::seconds(wanted != nullptr ? std::atoi(wanted) : 3);
}

// What is allowed, asked for again and again on new connections, and the longest time without an
// answer.
class Allowed {
public:
  Allowed(const Pod& pod, const std::string& address, const std::string& target)
      : x_requests([this, &pod, address, target] {
          auto connection = HttpConnection::open(pod.netns(), address, 80, kPatience);
          const auto reply =
              connection ? connection->request({.target = target}) : std::optional<HttpReply>{};
          if (!reply || reply->status != 200) {
            return false;
          }
          const auto now = Clock::now();
          if (x_last) {
            x_gap = std::max(x_gap, now - *x_last);
          }
          x_last = now;
          return true;
        }) {}

  [[nodiscard]] unsigned answered() const { return x_requests.passed(); }
  // Milliseconds; ends the requests.
  [[nodiscard]] std::int64_t longest_gap() {
    x_requests.stop();
    return std::chrono::duration_cast<std::chrono::milliseconds>(x_gap).count();
  }

private:
  std::optional<Clock::time_point> x_last;
  Clock::duration x_gap{};
  Sentinel x_requests; // last: it uses the others
};

// A node under load with what is forbidden to it tried each millisecond.
struct Besieged : Shop {
  Besieged() {
    lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
    lab.start_weir();
    resolve();
    const auto forbid = [&](const Pod& pod, const std::string& address, const std::string& target) {
      forbidden.push_back(std::make_unique<SteadyAttempts>(pod, address, target));
    };
    forbid(stranger, web.address(Family::kV4), "/discount?by-packet");
    forbid(client, web.address(Family::kV6), "/forbidden?by-rule");
    forbid(client, other_address(Family::kV4), "/forbidden?by-name");
    allowed.push_back(std::make_unique<Allowed>(client, web.address(Family::kV4), "/discount"));
    allowed.push_back(std::make_unique<Allowed>(client, web.address(Family::kV6), "/discount"));
    allowed.push_back(std::make_unique<Allowed>(client, allowed_address(Family::kV4), "/?allowed"));
  }

  // Names are learned for a minute or two, as their servers say.
  void resolve() const {
    REQUIRE(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).out ==
            std::string(kAllowedV4) + "\n");
  }
  void await_attempts(unsigned more) const {
    std::vector<unsigned> wanted;
    for (const auto& one : forbidden) {
      wanted.push_back(one->attempts() + more);
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      REQUIRE(eventually([&] { return forbidden[i]->attempts() >= wanted[i]; },
                         std::chrono::seconds(60)));
    }
  }
  void await_answers() const {
    for (const auto& one : allowed) {
      const unsigned before = one->answered();
      REQUIRE(eventually([&] { return one->answered() > before; }, std::chrono::seconds(60)));
    }
  }
  void check(unsigned kills) {
    unsigned attempts = 0, passed = 0;
    for (const auto& one : forbidden) {
      one->stop();
      attempts += one->attempts();
      passed += one->passed();
    }
    CHECK(passed == 0);
    std::int64_t gap = 0;
    for (const auto& one : allowed) {
      gap = std::max(gap, one->longest_gap());
    }
    // The servers are the witnesses: an answer that did not come back in time would count too.
    CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
    CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
    for (HttpServer* const witness : {&server, &lab.world_http()}) {
      for (const std::string& line : witness->requests_before("/end")) {
        CHECK(line.find("?by-") == std::string::npos);
      }
    }
    WARN(kills << " kills, " << attempts << " forbidden attempts, " << passed
               << " through; what is allowed was away for " << gap << " ms at the most");
  }

  HttpServer& server = lab.serve_http(web);
  std::vector<std::unique_ptr<SteadyAttempts>> forbidden;
  std::vector<std::unique_ptr<Allowed>> allowed;
};

TEST_CASE("S1: killed every second, weir lets nothing forbidden through at any millisecond") {
  require_root();
  Besieged node;
  unsigned kills = 0;
  for (const auto until = Clock::now() + kill_time(); kills < 3 || Clock::now() < until; ++kills) {
    node.await_attempts(kSecond);
    node.await_answers();
    node.lab.kill_weir();
    node.lab.start_weir();
    node.resolve();
  }
  node.await_answers();
  node.check(kills);
}

TEST_CASE("S5: killed and exchanged for a version with another map schema, weir lets nothing "
          "forbidden through at any millisecond") {
  require_root();
  Besieged node;
  // What another version leaves are pins in a folder of its own.
  const fs::path pins = node.lab.bpffs() / "weir";
  const fs::path own = fs::directory_iterator(pins)->path();
  REQUIRE(own.filename().string().starts_with("v"));
  unsigned kills = 0;
  for (const auto until = Clock::now() + kill_time(); kills < 3 || Clock::now() < until; ++kills) {
    node.await_attempts(kSecond);
    node.await_answers();
    node.lab.kill_weir();
    fs::rename(own, pins / "v999");
    node.lab.start_weir();
    CHECK_FALSE(fs::exists(pins / "v999"));
    node.resolve();
  }
  node.await_answers();
  node.check(kills);
}

} // namespace
} // namespace weir::test
