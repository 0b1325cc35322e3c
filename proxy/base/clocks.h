// The clocks of the BPF maps. Any thread.
#pragma once

#include <cstdint>
#include <ctime>

namespace weir {

// Nanoseconds since boot.
[[nodiscard]] inline std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// Suspended time included: what DNS says, and when something happened.
[[nodiscard]] inline std::uint64_t boottime_ns() { return clock_ns(CLOCK_BOOTTIME); }

// Without suspended time: the ages of flows.
[[nodiscard]] inline std::uint64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }

} // namespace weir
