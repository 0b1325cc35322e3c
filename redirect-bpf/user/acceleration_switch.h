// Acceleration as it was asked for: opened when it is first wanted, switched on and off, and told
// the proxy's listeners, in whichever order these come. Why it is off, when it is.
//
// Control thread; state() and leave() may be called by any thread.
#pragma once

#include "redirect-bpf/user/acceleration.h"
#include "redirect-bpf/user/redirector.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::redirect {

class AccelerationSwitch {
public:
  // `folder`: where the data path's maps are pinned.
  explicit AccelerationSwitch(std::string folder) : x_folder(std::move(folder)) {}

  // All of the proxy's that listen for TCP.
  Result<void> set_listeners(std::vector<int> listeners);
  Result<void> set_enabled(bool enabled);
  [[nodiscard]] AccelerationState state();
  // Redirector::leave_acceleration().
  [[nodiscard]] bool leave(int socket) const;

private:
  Result<void> begin();
  Result<void> add_listeners();

  std::string x_folder;
  std::vector<int> x_listeners;                          // the caller's, while they listen
  std::mutex x_mutex;                                    // guards the next three
  std::optional<Acceleration> x_acceleration;            // once there, until the end
  std::atomic<const Acceleration*> x_may_leave{nullptr}; // the same, without the mutex
  bool x_enabled = false;
  std::string x_reason = "switched off";
};

} // namespace weir::redirect
