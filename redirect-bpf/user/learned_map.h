// The kernel's addresses that were learned from DNS answers (weir_learned), by endpoint. What each
// call means stands at Redirector.
//
// Any thread. Errors: the kernel's; a full map is one.
#pragma once

#include "redirect-bpf/user/redirector.h"

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace weir::redirect {

class LearnedMap {
public:
  explicit LearnedMap(int map) : x_map(map) {} // the descriptor outlives it

  Result<void> learn(const LearnedAddress& learned);
  Result<void> set(const LearnedAddress& learned);
  [[nodiscard]] std::vector<LearnedAddress> list();
  [[nodiscard]] std::uint64_t last_used_ns(std::uint32_t endpoint, const IpAddress& address);
  void remove_except(const std::function<bool(std::uint32_t endpoint)>& stays);

private:
  int x_map;
  std::mutex x_mutex; // entries are read, changed and written back
};

} // namespace weir::redirect
