// The compiled policy of a node: what every packet and every request is judged by. Immutable and
// complete; workers hold it by shared_ptr<const Program>, and a reload is a new Program. Links
// neither YAML nor I/O; no call allocates, locks or throws, except where said.
//
// Read on any thread. References returned live as long as the Program: do not keep them across a
// suspension without keeping the shared_ptr.
#pragma once

#include "policy-compiler/runtime/http_request.h"
#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

using EndpointId = std::uint32_t; // as in weir_endpoint.id
using IdentityId = std::uint32_t; // as in weir_endpoint.identity

enum class Direction : std::uint8_t { kIngress = WEIR_INGRESS, kEgress = WEIR_EGRESS };
enum class Verdict : std::uint8_t {
  kDeny = WEIR_DENY,
  kAllow = WEIR_ALLOW,
  kRedirect = WEIR_REDIRECT,
};
// Which protocol the proxy has to speak on a redirected flow.
enum class L7Protocol : std::uint8_t { kNone, kHttp, kDns, kTls };

struct Rule; // model/policy.h

// A rule as people know it.
struct RuleRef {
  std::string kind;             // "CiliumNetworkPolicy"
  std::string policy_namespace; // empty for cluster-wide kinds
  std::string policy;           // metadata.name
  std::string file;
  int rule_number = 0; // 1-based within its section; 0 when the policy as a whole is meant
  std::string section; // "ingress", "egressDeny", …
  // "shop/api", a cluster-wide policy is "/name"; the default deny is "default-deny". The text of
  // x-weir-denied-by and of `denied_by` in logs.
  std::string label;
  // The `rule` of ABI entries and events: what Program::rule() is asked for. 0 is the default deny.
  std::uint32_t number = 0;
  // What was written; for tools. Null: no policy did. Lives as long as the Program.
  const Rule* source = nullptr;
};

// Where no rule allows; the same in every Program.
[[nodiscard]] const RuleRef& default_deny();

// One flow as policy sees it.
struct Flow {
  Direction direction = Direction::kIngress;
  IdentityId peer = 0;
  std::uint8_t protocol = 0; // IPPROTO_*
  std::uint16_t port = 0;    // destination port; ICMP: the type
  // Egress to an address learned from DNS: bits of the FQDN groups its names match, else 0.
  std::uint64_t fqdn_groups = 0;
};

struct HeaderActions;
class L7Rules; // one protocol's compiled matchers of one rule; lower/l7.cc makes them

// The answer at L3/L4, and for a redirected flow everything needed to judge its requests. Cheap to
// make; a session keeps it for as long as its snapshot and the peer's address stay the same.
struct FlowDecision {
  Verdict verdict = Verdict::kDeny;
  L7Protocol protocol = L7Protocol::kNone;
  const RuleRef* rule = nullptr; // which decided; never null after EndpointPolicy::decide
  // kRedirect only: all alternatives; one that accepts is enough. A plain allow of the same peer
  // and port stands here as one that accepts everything (`any`).
  bool any = false;
  std::vector<const L7Rules*> alternatives;
  std::vector<const L7Rules*> denials; // extension: L7 deny rules; one that matches refuses
  // kHttp with rules that look inside TLS: rules that let TLS pass unread, by its server name.
  std::vector<const L7Rules*> unread;

  // Where some policy is only audited (annotation weir.io/enforcement). Its refusal at L3/L4, which
  // the policies that are enforced do not share: the verdict is theirs.
  const RuleRef* audited = nullptr;
  // kRedirect: what these say of the flow, for requests that the audited policy refuses.
  std::shared_ptr<const FlowDecision> unaudited;
};

inline constexpr std::string_view kNotItsName = "fqdn-binding";

// One request's or query's verdict.
struct L7Decision {
  bool allowed = false;
  // The rule that allowed it, the deny rule that refused it, or, when nothing matched, the rule
  // that came nearest (names the policy in x-weir-denied-by). Never null.
  const RuleRef* rule = nullptr;
  // Static text for the reason of a denial: "method", "path", "host", "header", "name", "sni", …
  // Empty when allowed. kNotItsName: refused only because a rule binds names.
  std::string_view reason;
  // Allowed only because the policy that refuses it is audited: `rule` and `reason` are the
  // refusal's.
  bool audit = false;
  // Of the rules that allowed it: what they want done about its headers (http_matcher.h). Null: no
  // more. Live as long as the Program.
  std::array<const HeaderActions*, 2> actions{};
};

// Everything that is decided for one endpoint.
class EndpointPolicy {
public:
  virtual ~EndpointPolicy() = default;

  [[nodiscard]] virtual bool enforced(Direction direction) const = 0;
  // Some policy of this endpoint is only audited.
  [[nodiscard]] virtual bool audited() const = 0;

  // Allocates the vectors of FlowDecision; once a connection, not once a request. Where the
  // direction is not enforced: kAllow.
  [[nodiscard]] virtual FlowDecision decide(const Flow& flow) const = 0;

  // Bits of the endpoint's FQDN groups that have a selector matching the name.
  [[nodiscard]] virtual std::uint64_t fqdn_groups(const DnsName& name) const = 0;

  // The same decisions for the kernel, sorted by key.
  using Row = weir_policy_row;
  [[nodiscard]] virtual std::span<const Row> rows() const = 0;
};

// Does a rule bind names (weir.io/bind-fqdn), so that name_groups below matter?
[[nodiscard]] bool binds_names(const FlowDecision& flow);

// decide() gave kRedirect with L7Protocol::kHttp. Does not allocate. name_groups: FQDN groups of
// the request's host, where the endpoint has learned the flow's address for that very name; else 0.
[[nodiscard]] L7Decision judge_http(const FlowDecision& flow, const HttpRequest& request,
                                    std::uint64_t name_groups = 0);
// L7Protocol::kDns: may this name be asked?
[[nodiscard]] L7Decision judge_dns(const FlowDecision& flow, const DnsName& name);
// L7Protocol::kTls: the ClientHello's server name; nullopt when it has none. name_groups: as for
// judge_http().
[[nodiscard]] L7Decision judge_sni(const FlowDecision& flow, std::optional<std::string_view> name,
                                   std::uint64_t name_groups = 0);

// L7Protocol::kHttp: what begins as TLS and names this server is to be passed on unread. A rule
// that names the server and looks inside goes before one that does not look, and that before one
// that looks inside whatever the name. name_groups: as for judge_sni().
[[nodiscard]] bool passes_unread(const FlowDecision& flow, std::optional<std::string_view> name,
                                 std::uint64_t name_groups = 0);
// The decision for such a connection, of L7Protocol::kTls: its name alone is judged.
[[nodiscard]] FlowDecision unread_tls(const FlowDecision& flow);

class Program {
public:
  virtual ~Program() = default;

  [[nodiscard]] virtual std::uint64_t revision() const = 0; // rises with each compile
  // Null for an endpoint that the Program was not compiled for: hold it.
  [[nodiscard]] virtual const EndpointPolicy* find(EndpointId endpoint) const = 0;
  // Every prefix that a policy names, with the identity of its cell. For outside addresses only.
  struct Prefix {
    IpPrefix prefix;
    IdentityId identity;
  };
  [[nodiscard]] virtual std::span<const Prefix> prefixes() const = 0;
  // By number; null where no rule of this Program has it. A rule keeps its number from one Program
  // to the next (compiler.h).
  [[nodiscard]] virtual std::span<const RuleRef* const> rules() const = 0;
  [[nodiscard]] const RuleRef* rule(std::uint32_t number) const {
    return number < rules().size() ? rules()[number] : nullptr;
  }
};

} // namespace weir::policy
