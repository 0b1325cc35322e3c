// DnsPolicy by a PolicyGate and the FQDN cache.
#pragma once

#include "proxy/session/context.h"
#include "proxy/session/dns_policy.h"
#include "proxy/session/policy_gate.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace weir::session {

class GateDnsPolicy final : public DnsPolicy {
public:
  // The context outlives it. server: whom the client asks, who teaches only if he is trusted;
  // nothing: the upstream of a static listener, who is.
  GateDnsPolicy(SessionContext& context, std::unique_ptr<PolicyGate> gate,
                std::optional<IpAddress> server);

  DnsDecision judge(const DnsName& name) override;
  bool is_cluster_address(const IpAddress& address) override;
  Result<std::size_t> learn(const DnsName& name, std::uint32_t ttl,
                            const std::vector<IpAddress>& addresses) override;
  PodVolumes::Pod* volume() override;
  void describe(AccessRecord& record) const override;

private:
  [[nodiscard]] bool trusted() const;
  [[nodiscard]] bool leads_on(const DnsName& name) const;

  SessionContext& x_context;
  std::unique_ptr<PolicyGate> x_gate;
  const std::optional<IpAddress> x_server;
  std::shared_ptr<PodVolumes::Pod> x_volume; // of who asked last
};

// protocol: IPPROTO_UDP or IPPROTO_TCP. The context outlives what is made.
[[nodiscard]] std::shared_ptr<DnsPolicy> make_dns_policy(SessionContext& context, ClientAddr client,
                                                         OriginalDst destination,
                                                         std::uint8_t protocol);
[[nodiscard]] std::shared_ptr<DnsPolicy>
make_dns_policy(SessionContext& context, const FixedFlow& flow, std::uint8_t protocol);

} // namespace weir::session
