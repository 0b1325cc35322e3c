// A socket that is closed when its time is over: one timer for a whole exchange instead of a race
// for each read. Whatever waits for the socket then ends, and whatever comes later fails at once.
// Kept by shared_ptr, because the timer's handler may still be queued when the owner is done; used
// on the thread of its executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <utility>

namespace weir::session {

using TimedClock = std::chrono::steady_clock;

template <typename Socket>
struct TimedSocket : std::enable_shared_from_this<TimedSocket<Socket>> {
  explicit TimedSocket(const boost::asio::any_io_executor& executor)
      : socket(executor), timer(executor) {}
  explicit TimedSocket(Socket open) : socket(std::move(open)), timer(socket.get_executor()) {}

  void close_at(TimedClock::time_point deadline) {
    timer.expires_at(deadline);
    timer.async_wait([weak = this->weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      // A handler that was on its way already when the deadline was moved must do nothing.
      if (!error && self && self->timer.expiry() <= TimedClock::now()) {
        self->expired = true;
        boost::system::error_code ignored;
        self->socket.close(ignored);
      }
    });
  }
  void never_close() { timer.expires_at(TimedClock::time_point::max()); }

  Socket socket;
  boost::asio::steady_timer timer;
  bool expired = false;
};

} // namespace weir::session
