// Attempts made by a thread of its own until it is told to stop, and what came of them: for tests
// that something never happens, not even for a moment. How they are made: sentinel.h and
// steady_attempts.h.
//
// Ownership: the destructor stops and joins the thread; what `make` refers to outlives it.
// Thread: counters may be read from any.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

namespace weir::test {

class Attempts {
public:
  // `make` attempts until stopped(), and counts.
  explicit Attempts(std::function<void(Attempts&)> make)
      : x_thread([this, make = std::move(make)] { make(*this); }) {}
  Attempts(const Attempts&) = delete;
  Attempts& operator=(const Attempts&) = delete;
  ~Attempts() { stop(); }

  void stop() {
    x_stop = true;
    if (x_thread.joinable()) {
      x_thread.join();
    }
  }
  [[nodiscard]] unsigned attempts() const { return x_attempts; }
  [[nodiscard]] unsigned passed() const { return x_passed; }

  // For `make`.
  [[nodiscard]] bool stopped() const { return x_stop; }
  void count_attempt() { ++x_attempts; }
  void count_passed() { ++x_passed; }

private:
  std::atomic<bool> x_stop{false};
  std::atomic<unsigned> x_attempts{0}, x_passed{0};
  std::thread x_thread; // last: it uses the others
};

} // namespace weir::test
