// The clock of the BPF maps. Any thread.
#pragma once

#include <cstdint>
#include <ctime>

namespace weir {

// CLOCK_BOOTTIME: nanoseconds since boot, suspended time included.
[[nodiscard]] inline std::uint64_t boottime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace weir
