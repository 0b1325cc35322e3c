// Repeats one attempt every few milliseconds, each when the one before has ended.
#pragma once

#include "test/integration/attempts.h"

#include <chrono>
#include <functional>
#include <thread>
#include <utility>

namespace weir::test {

class Sentinel : public Attempts {
public:
  // `attempt` says whether it got through; it bounds its own time.
  explicit Sentinel(std::function<bool()> attempt)
      : Attempts([attempt = std::move(attempt)](Attempts& made) {
          while (!made.stopped()) {
            if (attempt()) {
              made.count_passed();
            }
            made.count_attempt();
            std::this_thread::sleep_for(std::chrono::milliseconds(2)); // a few attempts in 10 ms
          }
        }) {}
};

} // namespace weir::test
