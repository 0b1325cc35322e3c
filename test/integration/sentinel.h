// Repeats one attempt in a thread until it is told to stop, and counts what came of it: for tests
// that something never happens, not even for a moment.
//
// Ownership: the destructor stops and joins the thread; what `attempt` refers to outlives it.
// Thread: counters may be read from any.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

namespace weir::test {

class Sentinel {
public:
  // `attempt` says whether it got through; it bounds its own time.
  explicit Sentinel(std::function<bool()> attempt)
      : x_thread([this, attempt = std::move(attempt)] {
          while (!x_stop) {
            if (attempt()) {
              ++x_passed;
            }
            ++x_attempts;
            std::this_thread::sleep_for(std::chrono::milliseconds(2)); // a few attempts in 10 ms
          }
        }) {}
  Sentinel(const Sentinel&) = delete;
  Sentinel& operator=(const Sentinel&) = delete;
  ~Sentinel() { stop(); }

  void stop() {
    x_stop = true;
    if (x_thread.joinable()) {
      x_thread.join();
    }
  }
  [[nodiscard]] unsigned attempts() const { return x_attempts; }
  [[nodiscard]] unsigned passed() const { return x_passed; }

private:
  std::atomic<bool> x_stop{false};
  std::atomic<unsigned> x_attempts{0}, x_passed{0};
  std::thread x_thread; // last: it uses the others
};

} // namespace weir::test
