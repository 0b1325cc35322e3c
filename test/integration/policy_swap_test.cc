// Policies exchanged under load: no request is lost, and none is judged by half of each.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
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
  std::atomic<bool> swapping{true};
  std::atomic<unsigned> answered{0}, lost{0}, mixed{0}, wrongly_allowed{0};
  const auto ask_until_done = [&](HttpConnection connection) {
    for (unsigned i = 0; swapping || i < kRequests / kConnections; ++i) {
      const bool forbidden = i % 8 == 7;
      const auto reply =
          connection.request({.target = forbidden ? "/never" : (i % 2 == 0 ? "/a" : "/b")});
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
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kConnections; ++i) {
    auto connection = HttpConnection::open(client.netns(),
                                           web.address(i % 2 == 0 ? Family::kV4 : Family::kV6), 80);
    REQUIRE(connection);
    threads.emplace_back(ask_until_done, std::move(*connection));
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
  swapping = false;
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(all_taken);
  CHECK(lost == 0);
  CHECK(mixed == 0);
  CHECK(wrongly_allowed == 0);
  CHECK(answered >= kRequests);
  WARN(answered << " requests during " << kSwaps << " swaps");
}

} // namespace
} // namespace weir::test
