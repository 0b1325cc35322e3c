// What a DNS session asks of policy: may this name be asked, and what follows from its answer? An
// interface, so that the sessions know nothing of programs and caches; dns_gate_policy.h is the
// real one. One for each flow, used on the session's worker thread.
#pragma once

#include "proxy/base/access_record.h"
#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"
#include "proxy/base/pod_volumes.h"
#include "proxy/base/result.h"
#include "proxy/dns/message.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::session {

struct DnsDecision {
  bool allowed = false;
  bool teaches = false;                  // the answer may be learned from
  std::string denied_by = {};            // as in the access log; else empty when allowed
  std::optional<DnsRefused> reason = {}; // policy's; else nothing when allowed
  dns::Rcode refusal = dns::Rcode::kRefused;
  bool audit = false; // allowed, though an audited policy refuses it, as denied_by and reason say
};

class DnsPolicy {
public:
  virtual ~DnsPolicy() = default;

  // By the newest snapshot.
  virtual DnsDecision judge(const DnsName& name) = 0;

  // For an answer that may be learned from, by the newest snapshot: which addresses belong to the
  // cluster itself, and what the asking endpoint has learned. The answer may be released when this
  // returned a number, of the addresses written to the kernel.
  virtual bool is_cluster_address(const IpAddress& address) = 0;
  virtual Result<std::size_t> learn(const DnsName& name, std::uint32_t ttl,
                                    const std::vector<IpAddress>& addresses) = 0;

  // What is counted of the pod that asks; null when none does. Lives until the next other call.
  virtual PodVolumes::Pod* volume() = 0;

  // Fills in direction and whose pods the ends are. The views live until the next other call.
  virtual void describe(AccessRecord& record) const = 0;
};

} // namespace weir::session
