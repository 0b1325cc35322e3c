#include "redirect-bpf/user/names.h"

#include <algorithm>

namespace weir::redirect {
namespace {

constexpr CodeName kDrops[] = {
    {WEIR_DROP_POLICY, "policy"},
    {WEIR_DROP_POLICY_DENY, "policy_deny"},
    {WEIR_DROP_FQDN_EXPIRED, "fqdn_expired"},
    {WEIR_DROP_NO_POLICY, "no_policy"},
    {WEIR_DROP_NO_PROXY, "no_proxy"},
    {WEIR_DROP_SPOOFED, "spoofed"},
    {WEIR_DROP_FRAGMENT, "fragment"},
    {WEIR_DROP_MALFORMED, "malformed"},
    {WEIR_DROP_EXTENSION, "extension"},
    {WEIR_DROP_MISSED_REDIRECT, "missed_redirect"},
    {WEIR_DROP_UNROUTED_MARK, "unrouted_mark"},
    {WEIR_DROP_CT_FULL, "ct_full"},
    {WEIR_DROP_TO_LOOPBACK, "to_loopback"},
    {WEIR_DROP_NO_BACKEND, "no_backend"},
    {WEIR_DROP_PORT_IN_USE, "port_in_use"},
    {WEIR_DROP_NO_PROGRAM, "no_program"},
    {WEIR_DROP_AUDIT, "audit"},
};

constexpr CodeName kPacketVerdicts[] = {
    {WEIR_COUNT_UNTOUCHED, "untouched"},   {WEIR_COUNT_ALLOWED, "allowed"},
    {WEIR_COUNT_REDIRECTED, "redirected"}, {WEIR_COUNT_RETURNED, "returned"},
    {WEIR_COUNT_FROM_PROXY, "from_proxy"},
};

constexpr CodeName kIdentities[] = {
    {WEIR_IDENTITY_HOST, "host"},
    {WEIR_IDENTITY_WORLD, "world"},
    {WEIR_IDENTITY_UNMANAGED, "unmanaged"},
    {WEIR_IDENTITY_HEALTH, "health"},
    {WEIR_IDENTITY_INIT, "init"},
    {WEIR_IDENTITY_REMOTE_NODE, "remote-node"},
    {WEIR_IDENTITY_KUBE_APISERVER, "kube-apiserver"},
    {WEIR_IDENTITY_INGRESS, "ingress"},
    {WEIR_IDENTITY_WORLD_IPV4, "world-ipv4"},
    {WEIR_IDENTITY_WORLD_IPV6, "world-ipv6"},
};

std::string_view name_in(std::span<const CodeName> names, unsigned code, std::string_view other) {
  const auto found = std::find_if(names.begin(), names.end(),
                                  [code](const CodeName& one) { return one.code == code; });
  return found == names.end() ? other : found->name;
}

} // namespace

// The audit is no drop, and metrics count it apart: last in the table, left out here.
std::span<const CodeName> drop_names() { return std::span(kDrops).first(std::size(kDrops) - 1); }

std::string_view drop_name(unsigned reason) { return name_in(kDrops, reason, "unknown"); }

std::span<const CodeName> packet_verdict_names() { return kPacketVerdicts; }

std::string_view identity_name(unsigned identity) { return name_in(kIdentities, identity, ""); }

} // namespace weir::redirect
