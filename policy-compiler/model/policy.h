// A policy as it was meant: every kind brought into one form, defaults and implicit requirements
// spelled out, nothing resolved yet. Immutable once parsed.
//
// Rules carry (tier, priority, action) although the kinds read so far all live in one tier.
#pragma once

#include "policy-compiler/diagnostic.h"
#include "policy-compiler/model/selector.h"
#include "policy-compiler/runtime/tls_context.h"
#include "proxy/base/ip.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir::policy {

enum class Action : std::uint8_t { kAllow, kDeny, kPass };

enum class Entity : std::uint8_t {
  kAll,
  kWorld,
  kWorldIpv4,
  kWorldIpv6,
  kCluster,
  kClusterMesh,
  kHost,
  kRemoteNode,
  kKubeApiserver,
  kHealth,
  kInit,
  kIngress,
  kUnmanaged,
  kNone,
};

struct CidrPeer {
  IpPrefix prefix;
  std::vector<IpPrefix> except; // a hole in this entry, not a deny
};

struct CidrGroupPeer {
  std::string name; // empty: by selector
  LabelSelector selector;
  std::vector<IpPrefix> except;
};

struct ServicePeer {
  std::string name;              // empty: by selector
  std::string service_namespace; // empty: any
  LabelSelector selector;
};

// Both texts may stand in a DNS rule (either may match), only one in toFQDNs. Both empty: every
// name in a DNS rule, none in toFQDNs.
struct NamePattern {
  std::string match_name;
  std::string match_pattern;

  friend auto operator<=>(const NamePattern&, const NamePattern&) = default;
};

struct Peers {
  bool anybody = false; // no peer field beside ports: the rule is L4 only
  std::vector<LabelSelector> endpoints;
  std::vector<Entity> entities;
  std::vector<CidrPeer> cidrs;
  std::vector<CidrGroupPeer> cidr_groups;
  std::vector<ServicePeer> services;
  std::vector<NamePattern> fqdns;
  // Something that cannot be resolved here (cloud groups): nobody in an allow rule, anybody in a
  // deny rule.
  bool unresolvable = false;
};

// One `ports` entry.
struct PortMatch {
  std::string name; // lower case; empty: numeric
  std::uint16_t first = 0;
  std::uint16_t last = 0;    // named: end of a range that starts at the resolved port, or 0
  std::uint8_t protocol = 0; // IPPROTO_TCP, _UDP or _SCTP; 0: all three

  [[nodiscard]] bool every_port() const { return name.empty() && first == 0 && last == 0xffff; }
};

struct HeaderRule {
  enum class Mismatch : std::uint8_t { kReject, kLog, kAdd, kDelete, kReplace };

  std::string name;
  std::optional<std::string> value; // absent: the header has to be there
  std::optional<SecretRef> secret;  // holds the value, as its only item
  Mismatch mismatch = Mismatch::kReject;
};

// Where in the policy's file; 1-based.
struct Place {
  int line = 0;
  int column = 0;
};

struct HttpRule {
  std::string method, path, host; // RE2, full match; empty: any
  std::vector<HeaderRule> headers;
  Place place;
};

enum class L7Kind : std::uint8_t { kNone, kHttp, kDns, kTls };

// One `toPorts` entry. Without ports it is void: it opens nothing.
struct PortRule {
  std::vector<PortMatch> ports;
  L7Kind l7 = L7Kind::kNone;
  std::vector<HttpRule> http;
  std::vector<NamePattern> dns;
  std::vector<std::string> server_names; // lower case
  // HTTP inside TLS: what clients are shown and what servers are asked for. Only beside `http`.
  std::optional<TlsContext> terminating, originating;
  // What weir accepts but cannot judge yet (kafka, listener, TLS without HTTP rules): an allow
  // opens nothing, a deny closes the ports whole.
  std::string unsupported;
  Place place;
};

struct IcmpMatch {
  std::uint8_t protocol = 0; // IPPROTO_ICMP or IPPROTO_ICMPV6
  std::uint8_t type = 0;
};

struct Rule {
  std::uint32_t tier = 0;
  std::uint32_t priority = 0;
  Action action = Action::kAllow;
  std::uint8_t direction = WEIR_INGRESS; // enum weir_direction
  std::string section;                   // "ingress", "egressDeny", …
  int number = 0;                        // 1-based within the section
  Location location;
  Peers peers;
  // Neither ports nor ICMP: every protocol and port.
  bool every_port = true;
  std::vector<PortRule> ports;
  std::vector<IcmpMatch> icmps;
  // Asks for what weir cannot prove (mutual authentication): an allow opens nothing.
  bool unprovable = false;
  // Of `peers.fqdns`, an address is good only for requests and connections that carry a name that
  // it was learned for. Each port then has rules that see such a name.
  bool binds_names = false;
};

// One `spec`, or one member of `specs`.
struct Spec {
  LabelSelector subject;
  bool host_policy = false;  // nodeSelector: selects no pod
  bool has[2] = {};          // by direction: some rule or section speaks of it
  bool default_deny[2] = {}; // by direction
  std::vector<Rule> rules;
  std::string description;
  Location location;
};

// CiliumCIDRGroup
struct CidrGroup {
  std::map<std::string, std::string> labels; // "any:" keys are asked for, plain keys stand here
  std::vector<IpPrefix> prefixes;
};

struct Policy {
  std::string kind;
  std::string policy_namespace; // empty: cluster-wide
  std::string name;
  Location location;
  // Its denials are reported instead of enforced: what it refuses and no other policy does, passes.
  bool audit = false;
  bool bind_fqdn = false; // its rules with toFQDNs bind names
  std::vector<Spec> specs;
  std::optional<CidrGroup> cidr_group; // of kind CiliumCIDRGroup only
};

} // namespace weir::policy
