#include "proxy/runtime/deadline.h"

#include "proxy/runtime/gate.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>

using namespace weir;
using namespace std::chrono_literals;

namespace {

struct Counting final : runtime::Deadline {
  using Deadline::Deadline;
  int expired = 0;
  void on_deadline() override { ++expired; }
};

} // namespace

TEST_CASE("a deadline expires once, when its time has come") {
  runtime::Watchdog watchdog;
  Counting deadline(watchdog);
  deadline.expire_after(10s);
  watchdog.tick(watchdog.now() + 9s);
  CHECK(deadline.expired == 0);
  watchdog.tick(watchdog.now() + 1s);
  CHECK(deadline.expired == 1);
  watchdog.tick(watchdog.now() + 100s);
  CHECK(deadline.expired == 1);
}

TEST_CASE("a deadline can be put off, taken back and set again") {
  runtime::Watchdog watchdog;
  Counting deadline(watchdog);
  deadline.expire_after(10s);
  watchdog.tick(watchdog.now() + 9s);
  deadline.expire_after(10s);
  watchdog.tick(watchdog.now() + 9s);
  CHECK(deadline.expired == 0);
  deadline.never();
  watchdog.tick(watchdog.now() + 1h);
  CHECK(deadline.expired == 0);
  deadline.expire_after(1s);
  watchdog.tick(watchdog.now() + 1s);
  CHECK(deadline.expired == 1);
}

TEST_CASE("a deadline that is gone is not watched any more") {
  runtime::Watchdog watchdog;
  auto gone = std::make_unique<Counting>(watchdog);
  Counting stays(watchdog);
  gone->expire_after(1s);
  stays.expire_after(1s);
  gone.reset();
  watchdog.tick(watchdog.now() + 1s);
  CHECK(stays.expired == 1);
}

TEST_CASE("the watchdog ticks by itself until its gate closes") {
  boost::asio::io_context context;
  runtime::Gate gate(context);
  runtime::Watchdog watchdog;
  Counting deadline(watchdog);
  deadline.expire_after(0s);
  gate.spawn(watchdog.run());
  while (deadline.expired == 0) {
    context.run_one();
  }
  gate.close();
  context.run();
  CHECK(gate.running() == 0);
}
