// No BPF wanted (redirect.mode none): everything is accepted and nothing happens. Keeps no state;
// any thread.
#pragma once

#include "redirect-bpf/user/redirector.h"

namespace weir::redirect {

class NullRedirector final : public Redirector {
public:
  Result<void> apply(const IdentityRows& identities,
                     std::span<const EndpointState> endpoints) override;
  [[nodiscard]] std::optional<std::uint32_t> first_revision() const override {
    return std::nullopt;
  }
  Result<void> set_services(std::span<const ServiceState> services) override;
  std::optional<SocketAddress> backend_of(const SocketAddress& client,
                                          const SocketAddress& destination,
                                          std::uint8_t protocol) override;
  Result<void> learn(const LearnedAddress& learned) override;
  Result<void> set_learned(const LearnedAddress& learned) override;
  std::vector<LearnedAddress> list_learned() override;
  std::uint64_t last_used_ns(std::uint32_t endpoint, const IpAddress& address) override;
  Result<void> set_listeners(std::span<const WorkerListeners> workers) override;
  Result<void> clear_listeners() override;
  Result<void> hold_new_pods(OtherInterfaces others) override;
  Result<void> end_holds(std::chrono::steady_clock::time_point begun) override;
  Result<Counters> counters() override;
  std::vector<MapUse> map_use() override;
  Result<void> set_acceleration(bool enabled) override;
  AccelerationState acceleration() override;
  bool leave_acceleration(int /*socket*/) override { return true; }
  bool attached(const std::string& /*interface*/) override { return false; }
  [[nodiscard]] std::string_view attach_mode() const override { return {}; }
};

} // namespace weir::redirect
