#include "proxy/session/dns_gate_policy.h"

#include <algorithm>
#include <string>
#include <utility>

namespace weir::session {

namespace {

DnsRefused reason_of(const policy::L7Decision& refusal) {
  for (const DnsRefused one : {DnsRefused::kName, DnsRefused::kDenied, DnsRefused::kProtocol}) {
    if (refusal.reason == to_text(one)) {
      return one;
    }
  }
  return DnsRefused::kPolicy;
}

// `name` without the labels of `suffix`; nothing when it does not lie below it.
std::optional<std::vector<std::string>> without(const DnsName& name, const DnsName& suffix) {
  const auto labels = name.labels();
  const auto end = suffix.labels();
  if (labels.size() <= end.size() || !std::equal(end.rbegin(), end.rend(), labels.rbegin())) {
    return std::nullopt;
  }
  return std::vector<std::string>(labels.begin(),
                                  labels.end() - static_cast<std::ptrdiff_t>(end.size()));
}

} // namespace

GateDnsPolicy::GateDnsPolicy(SessionContext& context, std::unique_ptr<PolicyGate> gate,
                             std::optional<IpAddress> server)
    : x_context(context), x_gate(std::move(gate)), x_server(server) {}

DnsDecision GateDnsPolicy::judge(const DnsName& name) {
  x_gate->refresh();
  DnsDecision decision;
  if (x_gate->verdict() == policy::Verdict::kAllow) {
    decision.allowed = true;
    decision.teaches = x_context.dns.observe && trusted();
    return decision;
  }
  if (x_gate->verdict() == policy::Verdict::kRedirect &&
      x_gate->protocol() != policy::L7Protocol::kDns) {
    // Rules for another protocol cannot be satisfied by a DNS query.
    decision.denied_by = policy::default_deny().label;
    decision.reason = DnsRefused::kProtocol;
    return decision;
  }
  const policy::L7Decision judged = x_gate->judge_dns(name);
  if (judged.allowed) {
    decision.allowed = true;
    decision.teaches = trusted();
    if (judged.audit) {
      decision.audit = true;
      decision.denied_by = judged.rule->label;
      decision.reason = reason_of(judged);
    }
    return decision;
  }
  decision.denied_by = judged.rule->label;
  decision.reason = reason_of(judged);
  if (x_context.dns.refusal == config::DnsRefusal::kNxDomain ||
      (x_context.dns.refusal == config::DnsRefusal::kAuto && leads_on(name))) {
    decision.refusal = dns::Rcode::kNxDomain;
  }
  return decision;
}

bool GateDnsPolicy::trusted() const {
  const endpoint::Snapshot& snapshot = x_gate->snapshot();
  return !x_server ||
         (snapshot.dns != nullptr && snapshot.dns->trusts(*x_server, *snapshot.registry));
}

// Is the name one that a resolver makes of a shorter one by its search list, and may it ask for
// another that it makes of the same? With ndots:5 it tries "api.example.com.shop.svc.cluster.local"
// before "api.example.com"; glibc and musl go on after NXDOMAIN, but give up at REFUSED.
bool GateDnsPolicy::leads_on(const DnsName& name) const {
  const auto& scope = x_gate->snapshot().dns;
  if (scope == nullptr || x_gate->source() == nullptr) {
    return false;
  }
  const std::vector<DnsName> domains = scope->search(x_gate->source()->endpoint_namespace);
  const auto allowed = [&](const std::vector<std::string>& labels) {
    const auto candidate = DnsName::from_labels(labels);
    return candidate && *candidate != name && x_gate->judge_dns(*candidate).allowed;
  };
  for (const DnsName& domain : domains) {
    const auto asked = without(name, domain);
    if (!asked) {
      continue;
    }
    if (allowed(*asked)) {
      return true;
    }
    for (const DnsName& other : domains) {
      auto completed = *asked;
      for (const auto label : other.labels()) {
        completed.emplace_back(label);
      }
      if (allowed(completed)) {
        return true;
      }
    }
  }
  return false;
}

bool GateDnsPolicy::is_cluster_address(const IpAddress& address) {
  x_gate->refresh();
  const endpoint::Registry& registry = *x_gate->snapshot().registry;
  const auto& scope = x_gate->snapshot().dns;
  if (scope != nullptr ? scope->is_cluster_address(address, registry)
                       : registry.by_address(address) != nullptr) {
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
  return x_context.fqdn_cache.learn(*x_gate->egress_policy(), x_gate->source()->id, name, ttl,
                                    addresses);
}

PodVolumes::Pod* GateDnsPolicy::volume() {
  const endpoint::Endpoint* pod = x_gate->source();
  if (pod == nullptr) {
    return nullptr;
  }
  if (x_volume == nullptr || !x_volume->is(pod->endpoint_namespace, pod->name)) {
    x_volume = x_context.worker.metrics().dns_volumes.of(pod->endpoint_namespace, pod->name);
  }
  return x_volume.get();
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
  return std::make_shared<GateDnsPolicy>(context,
                                         std::make_unique<PolicyGate>(context.worker,
                                                                      context.fqdn_cache, client,
                                                                      destination, protocol),
                                         destination.value.ip);
}

std::shared_ptr<DnsPolicy> make_dns_policy(SessionContext& context, const FixedFlow& flow,
                                           std::uint8_t protocol) {
  return std::make_shared<GateDnsPolicy>(
      context, std::make_unique<PolicyGate>(context.worker, context.fqdn_cache, flow, protocol),
      std::nullopt);
}

} // namespace weir::session
