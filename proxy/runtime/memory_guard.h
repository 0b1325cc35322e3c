// Says when to take no more work, before the kernel ends the process for taking too much memory:
// the limit is the control group's (what a container's `limits.memory` becomes), the measure what
// the heap holds. Memory that the heap has to spare does not count: it is there to be used again.
//
// One a worker, on its thread. Where no limit is set it never says so.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace weir::runtime {

// The smallest limit of the process's memory control group (v2, or v1's memory controller) and
// those above it, as far as they are seen. `proc`: "/proc/self", other paths are for tests.
[[nodiscard]] std::optional<std::size_t> memory_limit(const std::string& proc = "/proc/self");

class MemoryGuard {
public:
  // So often the heap is asked, at the most.
  static constexpr std::chrono::milliseconds kInterval{50};

  explicit MemoryGuard(std::optional<std::size_t> limit) : x_limit(limit) {}

  // The heap holds more than three quarters of the limit; the rest is for what is running.
  [[nodiscard]] bool is_short();

private:
  const std::optional<std::size_t> x_limit;
  std::chrono::steady_clock::time_point x_asked;
  bool x_short = false;
};

} // namespace weir::runtime
