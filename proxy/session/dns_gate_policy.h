// DnsPolicy by a PolicyGate and the FQDN cache.
#pragma once

#include "proxy/session/context.h"
#include "proxy/session/dns_policy.h"
#include "proxy/session/policy_gate.h"

#include <cstdint>
#include <memory>

namespace weir::session {

class GateDnsPolicy final : public DnsPolicy {
public:
  // The cache outlives it.
  GateDnsPolicy(dns::FqdnCache& cache, std::unique_ptr<PolicyGate> gate);

  DnsDecision judge(const DnsName& name) override;
  bool is_cluster_address(const IpAddress& address) override;
  Result<std::size_t> learn(const DnsName& name, std::uint32_t ttl,
                            const std::vector<IpAddress>& addresses) override;
  void describe(AccessRecord& record) const override;

private:
  dns::FqdnCache& x_cache;
  std::unique_ptr<PolicyGate> x_gate;
};

// protocol: IPPROTO_UDP or IPPROTO_TCP. The context outlives what is made.
[[nodiscard]] std::shared_ptr<DnsPolicy> make_dns_policy(SessionContext& context, ClientAddr client,
                                                         OriginalDst destination,
                                                         std::uint8_t protocol);
[[nodiscard]] std::shared_ptr<DnsPolicy>
make_dns_policy(SessionContext& context, const FixedFlow& flow, std::uint8_t protocol);

} // namespace weir::session
