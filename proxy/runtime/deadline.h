// Deadlines of many connections, watched by one timer a worker. Moving a deadline is a store; an
// Asio timer for each operation would cost more than the operation. The price is resolution: a
// deadline is noticed up to kResolution late, and now() is as old as the last tick.
//
// On the worker's thread only. The Watchdog outlives its Deadlines and the coroutine of run().
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/intrusive/list.hpp>

#include <chrono>

namespace weir::runtime {

class Watchdog;

class Deadline : public boost::intrusive::list_base_hook<
                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
  explicit Deadline(Watchdog& watchdog);
  virtual ~Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  void expire_after(std::chrono::steady_clock::duration duration);
  void never() { x_at = std::chrono::steady_clock::time_point::max(); }

protected:
  // Once for each expire_after(). Cancel something; do not destroy the Deadline.
  virtual void on_deadline() = 0;

private:
  friend class Watchdog;
  Watchdog& x_watchdog;
  std::chrono::steady_clock::time_point x_at = std::chrono::steady_clock::time_point::max();
};

class Watchdog {
public:
  static constexpr std::chrono::milliseconds kResolution{100};

  Watchdog() : x_now(std::chrono::steady_clock::now()) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Ticks until cancelled. To be spawned once, in the worker's gate.
  boost::asio::awaitable<void> run();

  // Takes the time and calls what is due. Tests call it with a time of their own.
  void tick(std::chrono::steady_clock::time_point now);
  [[nodiscard]] std::chrono::steady_clock::time_point now() const { return x_now; }

private:
  friend class Deadline;
  boost::intrusive::list<Deadline, boost::intrusive::constant_time_size<false>> x_deadlines;
  std::chrono::steady_clock::time_point x_now;
};

} // namespace weir::runtime
