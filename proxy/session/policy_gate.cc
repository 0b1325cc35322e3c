#include "proxy/session/policy_gate.h"

#include "policy-compiler/runtime/l7_rules.h"
#include "policy-compiler/runtime/name_match.h"
#include "policy-compiler/runtime/near_request.h"
#include "proxy/base/check.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::session {
namespace {

using policy::Direction;
using policy::L7Decision;
using policy::L7Protocol;
using policy::Verdict;

constexpr std::array<std::pair<std::string_view, policy::IdentityId>, 10> kEntities = {{
    {"host", WEIR_IDENTITY_HOST},
    {"world", WEIR_IDENTITY_WORLD_IPV4},
    {"world-ipv4", WEIR_IDENTITY_WORLD_IPV4},
    {"world-ipv6", WEIR_IDENTITY_WORLD_IPV6},
    {"unmanaged", WEIR_IDENTITY_UNMANAGED},
    {"health", WEIR_IDENTITY_HEALTH},
    {"init", WEIR_IDENTITY_INIT},
    {"remote-node", WEIR_IDENTITY_REMOTE_NODE},
    {"kube-apiserver", WEIR_IDENTITY_KUBE_APISERVER},
    {"ingress", WEIR_IDENTITY_INGRESS},
}};

} // namespace

PolicyGate::PolicyGate(runtime::Worker& worker, const dns::FqdnCache& cache, ClientAddr client,
                       OriginalDst destination, std::uint8_t protocol)
    : x_worker(worker), x_cache(cache), x_fixed(false), x_client(client.value),
      x_original_destination(destination.value), x_ip_protocol(protocol) {
  refresh();
}

PolicyGate::PolicyGate(runtime::Worker& worker, const dns::FqdnCache& cache, FixedFlow flow,
                       std::uint8_t protocol)
    : x_worker(worker), x_cache(cache), x_fixed(true), x_flow(std::move(flow)),
      x_ip_protocol(protocol) {
  refresh();
}

void PolicyGate::refresh() {
  if (x_snapshot == x_worker.snapshot()) {
    return;
  }
  x_snapshot = x_worker.snapshot();
  WEIR_CHECK(x_snapshot != nullptr);
  x_sides.clear();
  x_verdict = Verdict::kAllow;
  x_protocol = L7Protocol::kNone;
  x_denying_rule = nullptr;
  x_source = x_destination = nullptr;
  x_egress_policy = nullptr;
  x_learned_by.reset();
  if (x_fixed) {
    decide_fixed();
  } else {
    decide_transparent();
  }
  x_binds_names = std::any_of(x_sides.begin(), x_sides.end(), [](const Side& side) {
    return side.direction == Direction::kEgress &&
           (policy::binds_names(side.decision) ||
            (side.decision.unaudited != nullptr && policy::binds_names(*side.decision.unaudited)));
  });
  look_for_tls();
  if (x_wire) {
    apply_terms();
  }
}

namespace {

bool about_tls(const policy::L7Rules& rules) { return rules.terminating || rules.originating; }

bool is_http(const policy::FlowDecision& decision) {
  return decision.verdict == Verdict::kRedirect && decision.protocol == L7Protocol::kHttp;
}

bool is_about_tls(const policy::FlowDecision& decision) {
  return is_http(decision) &&
         std::any_of(decision.alternatives.begin(), decision.alternatives.end(),
                     [](const policy::L7Rules* rules) { return about_tls(*rules); });
}

} // namespace

void PolicyGate::look_for_tls() {
  x_asks_for_tls = x_may_terminate = false;
  if (x_verdict != Verdict::kRedirect) {
    return;
  }
  for (const Side& side : x_sides) {
    if (!is_about_tls(side.decision)) {
      continue;
    }
    x_asks_for_tls = true;
    for (const policy::L7Rules* rules : side.decision.alternatives) {
      x_may_terminate = x_may_terminate || rules->terminating;
    }
  }
}

bool PolicyGate::settle(Wire wire) {
  x_wire = std::move(wire);
  apply_terms();
  return x_terms.has_value() && x_verdict != Verdict::kDeny;
}

void PolicyGate::apply_terms() {
  if (x_verdict == Verdict::kDeny) {
    return;
  }
  // The side that decides; the egress policy's is nearer to the client.
  Side* deciding = nullptr;
  for (Side& side : x_sides) {
    if (is_about_tls(side.decision)) {
      if (deciding != nullptr) {
        deny_terms(); // two pods' TLS in one pass through the proxy cannot be had
        return;
      }
      deciding = &side;
    }
  }
  TlsTerms terms;
  if (deciding == nullptr) {
    // What was passed on unread stays so where there is nobody left who wants to look inside.
    terms.unread = x_terms && x_terms->unread;
  } else if (x_wire->tls &&
             policy::passes_unread(deciding->decision, x_wire->server_name,
                                   x_wire->server_name
                                       ? name_groups(policy::server_name, *x_wire->server_name)
                                       : 0)) {
    deciding->decision = policy::unread_tls(deciding->decision);
    terms.unread = true;
    x_protocol = L7Protocol::kTls;
  } else {
    auto& alternatives = deciding->decision.alternatives;
    const auto fits = [&](const policy::L7Rules& rules) {
      return x_wire->tls ? rules.terminating && (rules.server_names.empty() ||
                                                 rules.names_server(x_wire->server_name))
                         : !rules.terminating;
    };
    const auto first = std::find_if(alternatives.begin(), alternatives.end(),
                                    [&](const policy::L7Rules* rules) { return fits(*rules); });
    if (first == alternatives.end()) {
      deny_terms();
      return;
    }
    terms = {(*first)->terminating, (*first)->originating};
    const auto keep_fitting = [&](std::vector<const policy::L7Rules*>& rules_list) {
      std::erase_if(rules_list, [&](const policy::L7Rules* rules) {
        return !fits(*rules) || rules->terminating != terms.terminating ||
               rules->originating != terms.originating;
      });
    };
    keep_fitting(alternatives);
    if (deciding->decision.unaudited != nullptr && is_http(*deciding->decision.unaudited)) {
      auto fitting = std::make_shared<policy::FlowDecision>(*deciding->decision.unaudited);
      keep_fitting(fitting->alternatives);
      deciding->decision.unaudited = std::move(fitting);
    }
  }
  for (const Side& side : x_sides) {
    if (&side == deciding || !is_http(side.decision)) {
      continue;
    }
    const bool before_tls = deciding != nullptr && side.direction == Direction::kEgress;
    const bool sees_tls = before_tls || deciding == nullptr || terms.unread
                              ? x_wire->tls
                              : terms.originating.has_value();
    if (sees_tls) {
      deny_terms(); // its rules are about requests, and it would be shown none
      return;
    }
  }
  if (x_terms && *x_terms != terms) {
    deny_terms(); // what runs cannot be made to run otherwise
    return;
  }
  x_terms = std::move(terms);
}

void PolicyGate::deny_terms() {
  x_verdict = Verdict::kDeny;
  x_protocol = L7Protocol::kNone;
  for (const Side& side : x_sides) {
    if (is_http(side.decision)) {
      x_denying_rule = side.decision.alternatives.empty()
                           ? side.decision.rule
                           : side.decision.alternatives.front()->rule;
    }
  }
}

void PolicyGate::decide_transparent() {
  const endpoint::Registry& registry = *x_snapshot->registry;
  x_source = registry.by_address(x_client.ip);
  x_destination = registry.by_address(x_original_destination.ip);
  const bool local_source = x_source != nullptr && x_source->is_local();
  const bool local_destination = x_destination != nullptr && x_destination->is_local();
  if (!local_source && !local_destination) {
    // Redirected for a pod that is gone by now.
    deny_unknown();
    return;
  }
  policy::Flow flow;
  flow.protocol = x_ip_protocol;
  flow.port = x_original_destination.port;
  if (local_source) {
    flow.direction = Direction::kEgress;
    flow.peer = registry.identity_of(x_original_destination.ip);
    x_learned_by = {x_source->id, x_original_destination.ip};
    flow.fqdn_groups = x_cache.groups_of(x_source->id, x_original_destination.ip);
    add_side(x_source->id, flow);
  }
  if (local_destination) {
    flow.direction = Direction::kIngress;
    flow.peer = registry.identity_of(x_client.ip);
    flow.fqdn_groups = 0;
    add_side(x_destination->id, flow);
  }
}

void PolicyGate::decide_fixed() {
  const endpoint::Registry& registry = *x_snapshot->registry;
  const endpoint::Endpoint* subject = registry.by_name(x_flow.endpoint);
  if (subject == nullptr) {
    deny_unknown();
    return;
  }
  policy::Flow flow;
  flow.direction = x_flow.direction;
  flow.protocol = x_ip_protocol;
  flow.port = x_flow.port;
  const endpoint::Endpoint* peer = registry.by_name(x_flow.peer);
  if (peer != nullptr) {
    flow.peer = peer->identity;
  } else if (const auto address = IpAddress::parse(x_flow.peer)) {
    peer = registry.by_address(*address);
    flow.peer = registry.identity_of(*address);
    if (x_flow.direction == Direction::kEgress) {
      x_learned_by = {subject->id, *address};
      flow.fqdn_groups = x_cache.groups_of(subject->id, *address);
    }
  } else {
    for (const auto& [name, identity] : kEntities) {
      if (name == x_flow.peer) {
        flow.peer = identity;
      }
    }
    if (flow.peer == WEIR_IDENTITY_ANY) {
      deny_unknown();
      return;
    }
  }
  const bool egress = x_flow.direction == Direction::kEgress;
  x_source = egress ? subject : peer;
  x_destination = egress ? peer : subject;
  add_side(subject->id, flow);
}

void PolicyGate::add_side(policy::EndpointId endpoint, const policy::Flow& flow) {
  const policy::EndpointPolicy* policy = x_snapshot->program->find(endpoint);
  if (policy == nullptr) {
    deny_unknown();
    return;
  }
  if (flow.direction == Direction::kEgress) {
    x_egress_policy = policy;
  }
  policy::FlowDecision decision = policy->decide(flow);
  switch (decision.verdict) {
  case Verdict::kDeny:
    x_verdict = Verdict::kDeny;
    x_protocol = L7Protocol::kNone;
    if (x_denying_rule == nullptr) {
      x_denying_rule = decision.rule;
    }
    break;
  case Verdict::kRedirect:
    if (x_verdict == Verdict::kRedirect && x_protocol != decision.protocol) {
      // The two ends want different protocols on one port: no session can satisfy both.
      deny_unknown();
    } else if (x_verdict != Verdict::kDeny) {
      x_verdict = Verdict::kRedirect;
      x_protocol = decision.protocol;
    }
    break;
  case Verdict::kAllow:
    break;
  }
  x_sides.push_back({flow.direction, std::move(decision)});
}

void PolicyGate::deny_unknown() {
  x_verdict = Verdict::kDeny;
  x_protocol = L7Protocol::kNone;
  if (x_denying_rule == nullptr) {
    x_denying_rule = &policy::default_deny();
  }
}

template <typename Judge>
L7Decision PolicyGate::judge(Judge&& judge_side) const {
  L7Decision joined{x_verdict != Verdict::kDeny,
                    x_denying_rule != nullptr ? x_denying_rule : &policy::default_deny(),
                    x_verdict == Verdict::kDeny ? "policy" : ""};
  if (!joined.allowed) {
    return joined;
  }
  for (const Side& side : x_sides) {
    L7Decision decision = side.decision.audited != nullptr
                              ? L7Decision{true, side.decision.audited, "policy", true}
                              : L7Decision{true, side.decision.rule, {}};
    if (side.decision.verdict != Verdict::kAllow) {
      decision = judge_side(side.decision);
    }
    if (!decision.allowed) {
      return decision;
    }
    // What one side would refuse is the news, whatever the other says.
    auto actions = joined.actions;
    (actions[0] == nullptr ? actions[0] : actions[1]) = decision.actions[0];
    if (decision.audit || !joined.audit) {
      joined = decision;
    }
    joined.actions = actions;
  }
  return joined;
}

std::uint64_t PolicyGate::name_groups(ReadName* read, std::string_view text) const {
  if (!x_binds_names || !x_learned_by || x_egress_policy == nullptr) {
    return 0;
  }
  const auto name = read(text);
  if (!name) {
    return 0;
  }
  if (std::find(x_names.begin(), x_names.end(), *name) == x_names.end()) {
    if (!x_cache.has_learned(x_learned_by->endpoint, *name, x_learned_by->address)) {
      return 0;
    }
    x_names.push_back(*name);
  }
  return x_egress_policy->fqdn_groups(*name);
}

L7Decision PolicyGate::counted(L7Decision decision) const {
  if (decision.reason == policy::kNotItsName && !decision.audit) {
    x_worker.metrics().fqdn_binding_refused.add();
  }
  return decision;
}

L7Decision PolicyGate::judge_http(const policy::HttpRequest& request) const {
  if (x_asks_for_tls && !x_wire) {
    return {false, &policy::default_deny(), "protocol"};
  }
  const std::uint64_t groups = name_groups(policy::host_name, request.host);
  return counted(judge(
      [&](const policy::FlowDecision& flow) { return policy::judge_http(flow, request, groups); }));
}

std::string PolicyGate::nearest_http(const policy::HttpRequest& request) const {
  for (const Side& side : x_sides) {
    if (is_http(side.decision)) {
      const L7Decision decision =
          policy::judge_http(side.decision, request, name_groups(policy::host_name, request.host));
      if (!decision.allowed || decision.audit) {
        return policy::near_request(side.decision, request);
      }
    }
  }
  return {};
}

L7Decision PolicyGate::judge_dns(const DnsName& name) const {
  return judge([&](const policy::FlowDecision& flow) { return policy::judge_dns(flow, name); });
}

L7Decision PolicyGate::judge_sni(std::optional<std::string_view> name) const {
  const std::uint64_t groups = name ? name_groups(policy::server_name, *name) : 0;
  return counted(judge(
      [&](const policy::FlowDecision& flow) { return policy::judge_sni(flow, name, groups); }));
}

std::string_view PolicyGate::direction() const {
  return x_sides.size() == 1 && x_sides.front().direction == Direction::kEgress ? "egress"
                                                                                : "ingress";
}

} // namespace weir::session
