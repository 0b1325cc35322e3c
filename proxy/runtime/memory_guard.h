// Says when to take no more work, before the kernel ends the process for taking too much memory.
//
// The limit is the control group's (what a container's `limits.memory` becomes). The measure is
// what the group is charged and cannot give back, the kernel's part with it: BPF maps alone are
// 58 MiB at the default sizes (Linux 6.18), and sockets come on top. Of the heap counts what is in
// use, whether its pages were touched already or will be; what it has to spare does not count, for
// it is there to be used again.
//
// One a worker, on its thread. Where no limit is set it never says so.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

namespace weir::runtime {

// A memory control group, v2 or of v1's memory controller.
struct MemoryGroup {
  std::size_t limit = 0; // bytes
  std::string folder;    // where its files are
  bool v2 = true;
};

// Of the process's group and those above it, as far as they are seen, the one with the smallest
// limit. `proc`: "/proc/self", other paths are for tests.
[[nodiscard]] std::optional<MemoryGroup> memory_group(const std::string& proc = "/proc/self");

// Bytes that the group is charged besides this process's anonymous memory, and that are not page
// cache: the kernel's part, and other processes'. 0 where nothing can be read.
[[nodiscard]] std::size_t charged_beside(const MemoryGroup& group,
                                         const std::string& proc = "/proc/self");

class MemoryGuard {
public:
  // So often the measure is taken, at the most.
  static constexpr std::chrono::milliseconds kInterval{50};

  explicit MemoryGuard(std::optional<MemoryGroup> group) : x_group(std::move(group)) {}

  // More than three quarters of the limit are held; the rest is for what is running.
  [[nodiscard]] bool is_short();

private:
  const std::optional<MemoryGroup> x_group;
  std::chrono::steady_clock::time_point x_asked;
  bool x_short = false;
};

} // namespace weir::runtime
