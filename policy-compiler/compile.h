// The two steps of the compiler: text → policies (parse), policies × cluster → Program (compile).
// Pure: same input, same output. No sockets, no files, no clock.
//
// Fail closed: a document with an error contributes nothing and its error says so; what cannot be
// resolved (group, service, secret) is the empty set in an allow rule, and everything in a deny
// rule.
#pragma once

#include "policy-compiler/diagnostic.h"
#include "policy-compiler/runtime/program.h"
#include "proxy/base/ip.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::policy {

struct Policy; // model/policy.h

// One document of a file: a policy, or why it is none. `policy` is null when it was refused or is
// of a kind that is skipped.
struct ParsedDocument {
  std::string file;
  int line = 0;                               // where the document starts
  std::string kind, document_namespace, name; // as far as they could be read
  std::shared_ptr<const Policy> policy;
  Diagnostics diagnostics;
};

// All documents of one file. Never throws; a file that is no YAML is one document with an error.
[[nodiscard]] std::vector<ParsedDocument> parse_policies(std::string_view file,
                                                         std::string_view text);

// Label keys carry their source: "k8s:app", "reserved:host". Values may be empty.
using Labels = std::map<std::string, std::string>;

struct NamedPort {
  std::string name;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0; // IPPROTO_*

  friend bool operator==(const NamedPort&, const NamedPort&) = default;
};

// A set of labels that stands behind a number: pods of this node and of others. Reserved
// identities are known to the compiler and are not listed.
struct IdentityInput {
  IdentityInput(IdentityId number, Labels of_it)
      : id(number), labels(std::make_shared<const Labels>(std::move(of_it))) {}
  IdentityInput(IdentityId number, std::shared_ptr<const Labels> of_it)
      : id(number), labels(std::move(of_it)) {}

  IdentityId id;
  std::shared_ptr<const Labels> labels; // never null; the same object is not looked at again
};

// An endpoint of this node: policy is computed for it.
struct EndpointInput {
  EndpointId id = 0;
  IdentityId identity = 0;
  std::string endpoint_namespace;
  std::string name;
  std::vector<NamedPort> named_ports;
};

// Gives each prefix a number that stays its own: the kernel's maps hold it. Implemented by
// proxy/endpoint/identity.h.
class PrefixIdentities {
public:
  virtual ~PrefixIdentities() = default;
  virtual IdentityId identity_of(const IpPrefix& prefix) = 0;
};

// Gives each FQDN group of an endpoint a bit that stays its own while any learned address may
// carry it. `group` is the group's content as text. Nothing when all 64 are taken.
class FqdnGroupBits {
public:
  virtual ~FqdnGroupBits() = default;
  virtual std::optional<unsigned> bit_of(EndpointId endpoint, const std::string& group) = 0;
};

enum class EnforcementMode : std::uint8_t { kDefault, kAlways, kNever };

struct CompileOptions {
  EnforcementMode mode = EnforcementMode::kDefault;
  bool allow_localhost = true; // the node reaches its pods, whatever ingress policy says
  std::string cluster_name = "default";
  // Peer selectors mean pods of every cluster; otherwise of this one, unless they name another.
  bool any_cluster = false;
  // Families in use. With both, outside addresses carry `reserved:world-ipv4` or `-ipv6`; with
  // one, `reserved:world`.
  bool ipv4 = true;
  bool ipv6 = true;
  // Pods with toFQDNs ask for names by way of the proxy also where their DNS is a plain allow: the
  // kernel is told to redirect port 53. What is allowed stays the same.
  bool observe_dns = false;

  friend bool operator==(const CompileOptions&, const CompileOptions&) = default;
};

// What toServices may name. Pods are found by `selector`; without one, `backends` are outside
// addresses.
struct ServiceInput {
  std::string service_namespace;
  std::string name;
  std::map<std::string, std::string> labels;   // plain keys
  std::map<std::string, std::string> selector; // plain keys
  std::vector<IpAddress> backends;

  friend bool operator==(const ServiceInput&, const ServiceInput&) = default;
};

// Outside addresses that are somebody: the API server beyond the cluster, say. They get a cell of
// their own, with these labels ("reserved:kube-apiserver") beside world's.
struct OutsideInput {
  IpPrefix prefix;
  Labels labels;
};

struct CompileInput {
  std::uint64_t revision = 0;
  std::vector<std::shared_ptr<const Policy>> policies;
  std::vector<EndpointInput> endpoints;
  std::vector<IdentityInput> identities;
  // Named ports of every pod, for egress rules that name a port: by identity.
  std::multimap<IdentityId, NamedPort> peer_ports;
  std::vector<ServiceInput> services;
  std::vector<OutsideInput> outside;
  // What headerMatches may name: "namespace/name" → the secret's only item.
  std::map<std::string, std::string> header_secrets;
  CompileOptions options;
};

struct CompileResult {
  std::shared_ptr<const Program> program; // never null
  Diagnostics diagnostics;                // what could not be resolved, by policy
};

// All of it anew. compiler.h keeps what does not change.
[[nodiscard]] CompileResult compile(const CompileInput& input, PrefixIdentities& prefixes,
                                    FqdnGroupBits& bits);

} // namespace weir::policy
