#include "redirect-bpf/user/acceleration_switch.h"

#include <algorithm>
#include <iterator>

namespace weir::redirect {

Result<void> AccelerationSwitch::set_listeners(std::vector<int> listeners) {
  x_listeners = std::move(listeners);
  return x_acceleration ? add_listeners() : Result<void>{};
}

Result<void> AccelerationSwitch::add_listeners() {
  for (const int socket : x_listeners) {
    if (auto added = x_acceleration->add_listener(socket); !added) {
      return added;
    }
  }
  return {};
}

Result<void> AccelerationSwitch::set_enabled(bool enabled) {
  const std::lock_guard lock(x_mutex);
  x_enabled = false;
  if (!enabled) {
    x_reason = "switched off";
    return x_acceleration ? x_acceleration->set_enabled(false) : Result<void>{};
  }
  const Result<void> begun = begin();
  x_enabled = begun.has_value();
  x_reason = begun ? "" : begun.error().text();
  return begun;
}

Result<void> AccelerationSwitch::begin() {
  if (!x_acceleration) {
    auto opened = Acceleration::open(x_folder);
    if (!opened) {
      return opened.error();
    }
    x_may_leave.store(&x_acceleration.emplace(std::move(*opened)), std::memory_order_release);
  }
  if (auto added = add_listeners(); !added) {
    return added;
  }
  return x_acceleration->set_enabled(true);
}

AccelerationState AccelerationSwitch::state() {
  const std::lock_guard lock(x_mutex);
  AccelerationState state;
  state.enabled = x_enabled;
  state.reason = x_reason;
  if (x_acceleration) {
    if (const auto counts = x_acceleration->counts()) {
      std::copy(std::begin(counts->of), std::end(counts->of), std::begin(state.counts));
    }
  }
  return state;
}

bool AccelerationSwitch::leave(int socket) const {
  const Acceleration* const acceleration = x_may_leave.load(std::memory_order_acquire);
  return acceleration == nullptr || acceleration->leave(socket);
}

} // namespace weir::redirect
