#include "proxy/runtime/gate.h"

#include "proxy/base/check.h"
#include "proxy/base/log.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>

#include <exception>
#include <utility>

namespace weir::runtime {
namespace asio = boost::asio;

Gate::~Gate() { WEIR_CHECK(x_running.empty()); }

void Gate::spawn(asio::awaitable<void> coroutine) {
  if (x_closed) {
    return;
  }
  const auto signal = x_running.emplace(x_running.end());
  asio::co_spawn(
      x_context, std::move(coroutine),
      asio::bind_cancellation_slot(signal->slot(), [this, signal](const std::exception_ptr& e) {
        x_running.erase(signal);
        if (e) {
          try {
            std::rethrow_exception(e);
          } catch (const std::exception& error) {
            log::error("a coroutine ended by an exception: {}", error.what());
          }
        }
        if (x_running.empty()) {
          x_repeat.cancel();
          if (x_on_empty) {
            std::exchange(x_on_empty, nullptr)();
          }
        }
      }));
}

void Gate::close() {
  x_closed = true;
  // Within the loop: cancelled from outside, Asio queues the cancellation, and a coroutine that
  // ends before its turn leaves it pointing at nothing.
  asio::dispatch(x_context, [this, alive = std::weak_ptr<void>(x_alive)] {
    if (!alive.expired()) {
      cancel_and_repeat();
    }
  });
}

void Gate::cancel_and_repeat() {
  cancel_all();
  if (x_running.empty()) {
    return;
  }
  x_repeat.expires_after(kRepeat);
  x_repeat.async_wait(
      [this, alive = std::weak_ptr<void>(x_alive)](boost::system::error_code failed) {
        if (!failed && !alive.expired()) {
          cancel_and_repeat();
        }
      });
}

void Gate::cancel_all() {
  for (auto at = x_running.begin(); at != x_running.end();) {
    // emit() may end the coroutine, and with it this element.
    auto& signal = *at++;
    signal.emit(asio::cancellation_type::terminal);
  }
}

void Gate::on_empty(std::function<void()> callback) {
  if (x_running.empty()) {
    callback();
  } else {
    x_on_empty = std::move(callback);
  }
}

} // namespace weir::runtime
