#include "redirect-bpf/user/null_redirector.h"

namespace weir::redirect {

Result<void> NullRedirector::apply(const IdentityRows& /*identities*/,
                                   std::span<const EndpointState> /*endpoints*/) {
  return {};
}

Result<void> NullRedirector::set_services(std::span<const ServiceState> /*services*/) { return {}; }

std::optional<SocketAddress> NullRedirector::backend_of(const SocketAddress& /*client*/,
                                                        const SocketAddress& /*destination*/,
                                                        std::uint8_t /*protocol*/) {
  return std::nullopt;
}

Result<void> NullRedirector::learn(const LearnedAddress& /*learned*/) { return {}; }

Result<void> NullRedirector::set_learned(const LearnedAddress& /*learned*/) { return {}; }

std::vector<LearnedAddress> NullRedirector::list_learned() { return {}; }

std::uint64_t NullRedirector::last_used_ns(std::uint32_t /*endpoint*/,
                                           const IpAddress& /*address*/) {
  return 0;
}

Result<void> NullRedirector::set_listeners(std::span<const WorkerListeners> /*workers*/) {
  return {};
}

Result<void> NullRedirector::clear_listeners() { return {}; }

Result<void> NullRedirector::hold_new_pods(OtherInterfaces /*others*/) { return {}; }

Result<void> NullRedirector::end_holds(std::chrono::steady_clock::time_point /*begun*/) {
  return {};
}

Result<Counters> NullRedirector::counters() { return Counters{}; }

std::vector<MapUse> NullRedirector::map_use() { return {}; }

Result<void> NullRedirector::set_acceleration(bool enabled) {
  return enabled ? invalid_error("nothing is redirected by BPF, so there is nothing to join")
                 : Result<void>{};
}

AccelerationState NullRedirector::acceleration() {
  return {.enabled = false, .reason = "nothing is redirected by BPF", .counts = {}};
}

} // namespace weir::redirect
