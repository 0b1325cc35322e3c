#include "proxy/runtime/deadline.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

namespace weir::runtime {
namespace asio = boost::asio;

Deadline::Deadline(Watchdog& watchdog) : x_watchdog(watchdog) {
  watchdog.x_deadlines.push_back(*this);
}

void Deadline::expire_after(std::chrono::steady_clock::duration duration) {
  x_at = x_watchdog.now() + duration;
}

void Watchdog::tick(std::chrono::steady_clock::time_point now) {
  x_now = now;
  for (auto at = x_deadlines.begin(); at != x_deadlines.end();) {
    Deadline& deadline = *at++;
    if (deadline.x_at <= now) {
      deadline.never();
      deadline.on_deadline();
    }
  }
}

asio::awaitable<void> Watchdog::run() {
  co_await asio::this_coro::throw_if_cancelled(false);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (;;) {
    timer.expires_after(kResolution);
    const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::deferred));
    if (error) {
      co_return;
    }
    tick(std::chrono::steady_clock::now());
  }
}

} // namespace weir::runtime
