#include "proxy/session/dns_gate_policy.h"

#include <utility>

namespace weir::session {

GateDnsPolicy::GateDnsPolicy(dns::FqdnCache& cache, std::unique_ptr<PolicyGate> gate)
    : x_cache(cache), x_gate(std::move(gate)) {}

DnsDecision GateDnsPolicy::judge(const DnsName& name) {
  x_gate->refresh();
  if (x_gate->verdict() == policy::Verdict::kAllow) {
    return {true, false, {}, {}};
  }
  if (x_gate->verdict() == policy::Verdict::kRedirect &&
      x_gate->protocol() != policy::L7Protocol::kDns) {
    // Rules for another protocol cannot be satisfied by a DNS query.
    return {false, false, x_gate->snapshot().program->rules().front().label, "protocol"};
  }
  const policy::L7Decision decision = x_gate->judge_dns(name);
  if (decision.allowed) {
    return {true, true, {}, {}};
  }
  return {false, true, decision.rule->label, decision.reason};
}

bool GateDnsPolicy::is_cluster_address(const IpAddress& address) {
  x_gate->refresh();
  const endpoint::Registry& registry = *x_gate->snapshot().registry;
  if (registry.by_address(address) != nullptr) {
    return true;
  }
  const policy::IdentityId identity = registry.identity_of(address);
  return identity == WEIR_IDENTITY_HOST || identity == WEIR_IDENTITY_REMOTE_NODE;
}

Result<std::size_t> GateDnsPolicy::learn(const DnsName& name, std::uint32_t ttl,
                                         const std::vector<IpAddress>& addresses) {
  x_gate->refresh();
  if (x_gate->egress_policy() == nullptr || x_gate->source() == nullptr) {
    return 0;
  }
  return x_cache.learn(*x_gate->egress_policy(), x_gate->source()->id, name, ttl, addresses);
}

void GateDnsPolicy::describe(AccessRecord& record) const {
  const auto fill = [](AccessRecord::Peer& peer, const endpoint::Endpoint* pod) {
    if (pod != nullptr) {
      peer.peer_namespace = pod->endpoint_namespace;
      peer.pod = pod->name;
    }
  };
  record.direction = x_gate->direction();
  fill(record.source, x_gate->source());
  fill(record.destination, x_gate->destination());
}

std::shared_ptr<DnsPolicy> make_dns_policy(SessionContext& context, ClientAddr client,
                                           OriginalDst destination, std::uint8_t protocol) {
  return std::make_shared<GateDnsPolicy>(
      context.fqdn_cache, std::make_unique<PolicyGate>(context.worker, context.fqdn_cache, client,
                                                       destination, protocol));
}

std::shared_ptr<DnsPolicy> make_dns_policy(SessionContext& context, const FixedFlow& flow,
                                           std::uint8_t protocol) {
  return std::make_shared<GateDnsPolicy>(
      context.fqdn_cache,
      std::make_unique<PolicyGate>(context.worker, context.fqdn_cache, flow, protocol));
}

} // namespace weir::session
