// Owns coroutines: nothing runs detached. One per owner (worker, listener); used on the thread of
// its io_context only. Destroying a Gate that still runs something is a broken invariant: close(),
// then let the io_context run until running() is 0.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>

namespace weir::runtime {

class Gate {
public:
  explicit Gate(boost::asio::io_context& context) : x_context(context), x_repeat(context) {}
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Starts the coroutine on the next turn of the loop. After close() it is dropped unstarted.
  // An exception that leaves it is a bug: logged and counted as one, the coroutine ends.
  void spawn(boost::asio::awaitable<void> coroutine);

  // Refuses new coroutines and cancels everything that runs (their pending operations end with
  // operation_aborted): at once where the loop runs this call, else on its next turn. Repeats that
  // every kRepeat until nothing runs: an operation that completed in the same turn of the loop is
  // not cancelled by it, nor is what its coroutine awaits next.
  static constexpr std::chrono::milliseconds kRepeat{20};
  void close();

  // Calls back once, on this thread, when nothing runs any more; at once when nothing does.
  void on_empty(std::function<void()> callback);

  [[nodiscard]] std::size_t running() const { return x_running.size(); }
  [[nodiscard]] bool closed() const { return x_closed; }

private:
  void cancel_and_repeat();
  void cancel_all();

  boost::asio::io_context& x_context;
  boost::asio::steady_timer x_repeat;
  std::list<boost::asio::cancellation_signal> x_running;
  std::function<void()> x_on_empty;
  bool x_closed = false;
  // Expires with the gate: a repetition that the loop has queued already must not reach it.
  std::shared_ptr<void> x_alive = std::make_shared<char>();
};

} // namespace weir::runtime
