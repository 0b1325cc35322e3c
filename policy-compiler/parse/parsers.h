// One function for each section of a policy. All report to the log and return what they could
// read; the document is refused when the log has an error, so a partial result is never used.
#pragma once

#include "policy-compiler/model/policy.h"
#include "policy-compiler/parse/object_reader.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

// --- selectors.cc
// Keys as Cilium writes them ("app", "any:app", "k8s:app", "reserved:host"). `prefix`: put before
// keys without a source, when the keys are Kubernetes' own ("k8s:", "k8s:io.cilium…labels.").
LabelSelector parse_selector(DocumentLog& log, const YamlNode& node, std::string_view what,
                             std::string_view prefix = {});
// Is it a label value, a label key? Kubernetes' rules; the message says what is wrong.
[[nodiscard]] std::optional<std::string> label_value_error(std::string_view value);

// --- peers.cc
struct PeerScope {
  std::string policy_namespace; // empty: cluster-wide
  bool subject_is_init = false; // pods without labels yet have no namespace to be matched by
};
// The peer fields of a Cilium rule; `anybody` is left to the caller, who knows about ports.
// `present`: some peer field stands there, empty lists included.
Peers parse_peers(DocumentLog& log, ObjectReader& rule, const PeerScope& scope,
                  std::uint8_t direction, Action action, bool& present);
std::optional<IpPrefix> parse_prefix(DocumentLog& log, const YamlNode& node, Action action);

// --- names.cc
NamePattern parse_fqdn_selector(DocumentLog& log, const YamlNode& node);
NamePattern parse_dns_rule(DocumentLog& log, const YamlNode& node);

// --- ports.cc
std::vector<PortRule> parse_port_rules(DocumentLog& log, const NodeList& items,
                                       std::uint8_t direction, Action action);
std::vector<IcmpMatch> parse_icmps(DocumentLog& log, const NodeList& items);
// A protocol's name in any case: IPPROTO_*, or 0 for ANY. Nothing, and an error, otherwise.
std::optional<std::uint8_t> parse_protocol(DocumentLog& log, const YamlNode& node);
// "http", "my-port": IANA service names, lower-cased; nothing when it is none.
[[nodiscard]] std::optional<std::string> port_name(std::string_view text);

// --- l7.cc
void parse_l7(DocumentLog& log, ObjectReader& port_rule, PortRule& out, std::uint8_t direction,
              Action action);

// --- bind_fqdn.cc
// Makes a rule with toFQDNs bind names: ports without L7 rules get those that see a name.
void bind_names(DocumentLog& log, const YamlNode& node, Rule& rule);

// --- the kinds
void parse_cilium_policy(DocumentLog& log, const YamlNode& root, Policy& policy);
void parse_network_policy(DocumentLog& log, const YamlNode& root, Policy& policy);
void parse_cidr_group(DocumentLog& log, const YamlNode& root, Policy& policy);

} // namespace weir::policy
