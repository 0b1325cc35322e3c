#include "proxy/runtime/gate.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <stdexcept>

namespace weir::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<void> wait_for_ever(unsigned times) {
  co_await asio::this_coro::throw_if_cancelled(false);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (unsigned i = 0; i < times; ++i) {
    timer.expires_after(std::chrono::hours(1));
    co_await timer.async_wait(asio::as_tuple(asio::deferred));
  }
}

asio::awaitable<void> fail() {
  throw std::runtime_error("on purpose");
  co_return;
}

TEST_CASE("closing a gate ends what runs in it, and tells when nothing does any more") {
  asio::io_context context;
  Gate gate(context);
  bool empty = false;
  gate.spawn(wait_for_ever(1));
  gate.spawn(wait_for_ever(1));
  CHECK(gate.running() == 2);
  asio::post(context, [&] {
    gate.close();
    gate.on_empty([&] { empty = true; });
  });
  context.run_for(std::chrono::seconds(10));
  CHECK(empty);
  CHECK(gate.running() == 0);
}

TEST_CASE("a coroutine that waits anew after it was cancelled is cancelled again") {
  asio::io_context context;
  Gate gate(context);
  gate.spawn(wait_for_ever(3));
  asio::post(context, [&] { gate.close(); });
  context.run_for(std::chrono::seconds(10));
  CHECK(gate.running() == 0);
}

TEST_CASE("a closed gate starts nothing") {
  asio::io_context context;
  Gate gate(context);
  gate.close();
  CHECK(gate.closed());
  gate.spawn(wait_for_ever(1));
  CHECK(gate.running() == 0);
}

TEST_CASE("an exception ends its coroutine and nothing else") {
  asio::io_context context;
  Gate gate(context);
  gate.spawn(fail());
  gate.spawn(wait_for_ever(1));
  context.poll();
  CHECK(gate.running() == 1);
  gate.close();
  context.run_for(std::chrono::seconds(10));
  CHECK(gate.running() == 0);
}

} // namespace
} // namespace weir::runtime
