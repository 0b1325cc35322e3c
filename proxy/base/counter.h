// A number that one thread counts up and any thread reads.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

class Counter {
public:
  void add(std::uint64_t count = 1) {
    // No read-modify-write needed: there is one writer.
    x_value.store(x_value.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return x_value.load(std::memory_order_relaxed); }

private:
  std::atomic<std::uint64_t> x_value{0};
};

} // namespace weir
