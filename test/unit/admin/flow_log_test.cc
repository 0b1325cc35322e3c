#include "proxy/admin/flow_log.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using namespace weir;
using namespace weir::admin;

FlowRow row(const std::string& reason, const std::string& pod = "client",
            FlowVerdict verdict = FlowVerdict::kDropped) {
  FlowRow made;
  made.reason = reason;
  made.verdict = verdict;
  made.source.pod_namespace = "shop";
  made.source.pod = pod;
  return made;
}

std::vector<std::string> reasons(const FlowLog::Rows& rows) {
  std::vector<std::string> out;
  for (const auto& one : rows) {
    out.push_back(one->reason);
  }
  return out;
}

TEST_CASE("the log of flows gives the newest rows that are wanted, oldest first") {
  FlowLog log;
  log.add(row("1"));
  log.add(row("2", "web"));
  log.add(row("3"));
  log.add(row("4", "client", FlowVerdict::kForwarded));
  CHECK(reasons(log.last(2, {}).rows) == std::vector<std::string>{"3", "4"});
  CHECK(reasons(log.last(9, {.pod = "shop/client", .verdict = std::nullopt}).rows) ==
        std::vector<std::string>{"1", "3", "4"});
  CHECK(reasons(log.last(9, {.pod = "shop/client", .verdict = FlowVerdict::kDropped}).rows) ==
        std::vector<std::string>{"1", "3"});
  CHECK(log.last(9, {.pod = "shop/clien", .verdict = std::nullopt}).rows.empty());
  CHECK(log.last(9, {.pod = "shopclient", .verdict = std::nullopt}).rows.empty());
}

TEST_CASE("the log of flows keeps a fixed number of rows") {
  FlowLog log;
  for (std::size_t i = 0; i < FlowLog::kCapacity + 10; ++i) {
    log.add(row(std::to_string(i)));
  }
  const auto kept = log.last(FlowLog::kCapacity * 2, {}).rows;
  REQUIRE(kept.size() == FlowLog::kCapacity);
  CHECK(kept.front()->reason == "10");
  CHECK(kept.back()->reason == std::to_string(FlowLog::kCapacity + 9));
}

TEST_CASE("who follows the flows reads each once, and is told what was gone before") {
  FlowLog log;
  log.add(row("past"));
  auto read = log.last(1, {});
  CHECK(log.read(read.next, 10, {}).rows.empty());
  log.add(row("a"));
  log.add(row("b"));
  log.add(row("c"));
  read = log.read(read.next, 2, {});
  CHECK(reasons(read.rows) == std::vector<std::string>{"a", "b"});
  read = log.read(read.next, 2, {});
  CHECK(reasons(read.rows) == std::vector<std::string>{"c"});
  CHECK(log.missed() == 0);
  for (std::size_t i = 0; i < FlowLog::kCapacity + 7; ++i) {
    log.add(row(std::to_string(i)));
  }
  read = log.read(read.next, 1, {});
  CHECK(read.missed == 7);
  CHECK(reasons(read.rows) == std::vector<std::string>{"7"});
  CHECK(log.missed() == 7);
}

TEST_CASE("rows that a follower does not want are passed over, not read again") {
  FlowLog log;
  const auto start = log.last(0, {});
  for (int i = 0; i < 100; ++i) {
    log.add(row("other", "web"));
  }
  log.add(row("wanted"));
  const auto read = log.read(start.next, 1, {.pod = "shop/client", .verdict = std::nullopt});
  CHECK(reasons(read.rows) == std::vector<std::string>{"wanted"});
  CHECK(read.next == 101);
}

} // namespace
