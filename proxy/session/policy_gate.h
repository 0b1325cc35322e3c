// Answers for one connection: may this flow be, and may this request or query proceed? Asks the
// egress policy of the pod it comes from and the ingress policy of the pod it goes to, where these
// are pods of this node; both must agree. What it cannot place is denied, because a guess here is
// a hole in somebody's policy.
//
// Owned by a session, on its worker's thread. Knows nothing of sockets.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "policy-compiler/runtime/tls_context.h"
#include "proxy/base/ip.h"
#include "proxy/dns/fqdn_cache.h"
#include "proxy/runtime/worker.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::session {

// What a static listener says of its flows instead of addresses (DESIGN §9).
struct FixedFlow {
  policy::Direction direction = policy::Direction::kIngress;
  std::string endpoint; // namespace/name
  std::string peer;     // namespace/name, an address, or an entity
  std::uint16_t port = 0;
};

// How TLS is to be ended towards the client and begun towards the server; absent: it is not.
struct TlsTerms {
  std::optional<policy::TlsContext> terminating, originating;
  bool unread = false; // TLS is passed on as it is, by its server name

  bool operator==(const TlsTerms&) const = default;
};

class PolicyGate {
public:
  // protocol: IPPROTO_TCP or IPPROTO_UDP.
  PolicyGate(runtime::Worker& worker, const dns::FqdnCache& cache, ClientAddr client,
             OriginalDst destination, std::uint8_t protocol);
  PolicyGate(runtime::Worker& worker, const dns::FqdnCache& cache, FixedFlow flow,
             std::uint8_t protocol);

  // Takes the worker's newest snapshot; re-decides if it is another one than last time. Call it
  // before each request; what follows answers by that snapshot until the next call.
  void refresh();

  // At L3/L4. kRedirect: judge each request. kAllow: nothing of L7 concerns this flow (any more).
  [[nodiscard]] policy::Verdict verdict() const { return x_verdict; }
  // What to speak; kNone unless verdict() is kRedirect.
  [[nodiscard]] policy::L7Protocol protocol() const { return x_protocol; }
  // Which rule denied at L3/L4; null unless verdict() is kDeny. May be the default deny.
  [[nodiscard]] const policy::RuleRef* denying_rule() const { return x_denying_rule; }

  // Both sides' verdict. References in the decision live until the next refresh().
  [[nodiscard]] policy::L7Decision judge_http(const policy::HttpRequest& request) const;
  // Of a request that judge_http() refused or would refuse: what came nearest, in words.
  [[nodiscard]] std::string nearest_http(const policy::HttpRequest& request) const;
  [[nodiscard]] policy::L7Decision judge_dns(const DnsName& name) const;
  [[nodiscard]] policy::L7Decision judge_sni(std::optional<std::string_view> name) const;

  // HTTP rules that speak of TLS are about the requests inside it (terminatingTLS), or about
  // requests that travel on inside it (originatingTLS). Where there are such rules, requests are
  // judged only after the session has said what the client speaks. The first rule that fits that
  // gives the terms; requests are then judged by the rules of the same terms alone. Where the terms
  // are that nobody looks inside, protocol() is kTls from then on.
  [[nodiscard]] bool asks_for_tls() const { return x_asks_for_tls; }
  // Some rule wants to look inside the client's TLS.
  [[nodiscard]] bool may_terminate() const { return x_may_terminate; }
  // Once. False: no rule fits. Later snapshots must give the same terms, or the flow is denied.
  bool client_speaks_plain() { return settle({}); }
  bool client_speaks_tls(std::optional<std::string> server_name) {
    return settle({true, std::move(server_name)});
  }
  [[nodiscard]] const TlsTerms& tls_terms() const { return *x_terms; } // after true

  // Pods at either end by the current snapshot; null when there is none. For logs and for the
  // upstream's source address.
  [[nodiscard]] const endpoint::Endpoint* source() const { return x_source; }
  [[nodiscard]] const endpoint::Endpoint* destination() const { return x_destination; }
  // Whose policy decided last: "egress" when the source's policy is asked alone, else "ingress".
  [[nodiscard]] std::string_view direction() const;

  // The egress policy in force on the flow's source; null when that is not a pod of this node or
  // not known to the program. Lives until the next refresh().
  [[nodiscard]] const policy::EndpointPolicy* egress_policy() const { return x_egress_policy; }
  [[nodiscard]] const endpoint::Snapshot& snapshot() const { return *x_snapshot; }

private:
  struct Side {
    policy::Direction direction;
    policy::FlowDecision decision;
  };
  void decide_transparent();
  void decide_fixed();
  void add_side(policy::EndpointId endpoint, const policy::Flow& flow);
  void deny_unknown();
  // FQDN groups of a server's name, where its address was learned for that name. `read` is called
  // only where some rule binds names.
  using ReadName = std::optional<DnsName>(std::string_view text);
  [[nodiscard]] std::uint64_t name_groups(ReadName* read, std::string_view text) const;
  [[nodiscard]] policy::L7Decision counted(policy::L7Decision decision) const;

  struct Wire { // what the client speaks
    bool tls = false;
    std::optional<std::string> server_name;
  };
  bool settle(Wire wire);
  void look_for_tls();
  void apply_terms();
  void deny_terms();

  template <typename Judge>
  policy::L7Decision judge(Judge&& judge_side) const;

  runtime::Worker& x_worker;
  const dns::FqdnCache& x_cache;
  const bool x_fixed;
  FixedFlow x_flow;
  SocketAddress x_client, x_original_destination;
  std::uint8_t x_ip_protocol;

  std::shared_ptr<const endpoint::Snapshot> x_snapshot;
  std::vector<Side> x_sides;
  policy::Verdict x_verdict = policy::Verdict::kDeny;
  policy::L7Protocol x_protocol = policy::L7Protocol::kNone;
  const policy::RuleRef* x_denying_rule = nullptr;
  const endpoint::Endpoint* x_source = nullptr;
  const endpoint::Endpoint* x_destination = nullptr;
  const policy::EndpointPolicy* x_egress_policy = nullptr;

  struct LearnedBy { // whose names open the server's address
    policy::EndpointId endpoint;
    IpAddress address;
  };
  std::optional<LearnedBy> x_learned_by;
  bool x_binds_names = false;
  // Names found learned for the address: what began in time goes on when they expire.
  mutable std::vector<DnsName> x_names;

  bool x_asks_for_tls = false, x_may_terminate = false;
  std::optional<Wire> x_wire;
  std::optional<TlsTerms> x_terms;
};

} // namespace weir::session
