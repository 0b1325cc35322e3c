#include "proxy/control/flow_rows.h"

#include "policy-compiler/model/protocol.h"
#include "proxy/base/clocks.h"
#include "proxy/control/view.h"
#include "redirect-bpf/user/map_sync.h"
#include "redirect-bpf/user/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <chrono>

namespace weir::control {
namespace {

// Explaining builds tables and texts: a flood of denied flows must not make the control thread busy
// with that. What is asked again costs a look-up.
constexpr unsigned kExplanationsPerSecond = 50;
constexpr unsigned kCostOfExplainer = 25; // it looks at all pods and selectors
constexpr std::size_t kRemembered = 1024;
constexpr std::uint64_t kSecondNs = 1'000'000'000;

bool has_ports(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

std::string reason_text(unsigned reason) {
  if (reason == WEIR_DROP_POLICY) {
    return "POLICY_DENIED"; // as Hubble says it
  }
  std::string text(redirect::drop_name(reason));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

admin::FlowVerdict verdict_of(const weir_event& event) {
  if (event.verdict == WEIR_DENY) {
    return admin::FlowVerdict::kDropped;
  }
  if (event.reason == WEIR_DROP_AUDIT) {
    return admin::FlowVerdict::kAudit;
  }
  return event.verdict == WEIR_REDIRECT ? admin::FlowVerdict::kRedirected
                                        : admin::FlowVerdict::kForwarded;
}

// `pod`: null where the address is not known to be its pod's.
admin::FlowRow::End end_of(const weir_addr& address, std::uint16_t port_be, bool with_port,
                           const endpoint::Endpoint* pod) {
  admin::FlowRow::End end;
  end.ip = redirect::from_abi(address);
  end.port = with_port ? ntohs(port_be) : std::uint16_t{0};
  if (pod != nullptr) {
    end.pod_namespace = pod->endpoint_namespace;
    end.pod = pod->name;
    end.identity = pod->identity;
  }
  return end;
}

std::string entity_of(std::uint32_t identity, const policy::Program& program) {
  if (identity < WEIR_IDENTITY_FIRST_PREFIX) {
    return std::string(redirect::identity_name(identity));
  }
  const auto prefixes = program.prefixes();
  const auto cell = std::find_if(prefixes.begin(), prefixes.end(),
                                 [&](const auto& one) { return one.identity == identity; });
  return cell == prefixes.end() ? "" : cell->prefix.to_string();
}

} // namespace

FlowRows::FlowRows(const dns::FqdnCache& cache, std::uint64_t rules_since_ns)
    : x_cache(cache), x_rules_since_ns(rules_since_ns) {}

admin::FlowRow FlowRows::row_of(const weir_event& event, const Controller::InForce& in_force) {
  const bool egress = event.direction == WEIR_EGRESS;
  const bool with_ports = has_ports(event.tuple.protocol);
  admin::FlowRow row;
  const std::uint64_t now_ns = boottime_ns();
  const std::uint64_t age_ns = now_ns > event.time_ns ? now_ns - event.time_ns : 0;
  row.time = std::chrono::system_clock::now() -
             std::chrono::duration_cast<std::chrono::system_clock::duration>(
                 std::chrono::nanoseconds(age_ns));
  row.verdict = verdict_of(event);
  row.direction = egress ? "egress" : "ingress";
  row.protocol = policy::protocol_text(event.tuple.protocol);
  row.reason = event.reason == WEIR_DROP_NONE ? "" : reason_text(event.reason);

  const endpoint::Registry* registry = in_force.registry.get();
  const endpoint::Endpoint* own = registry == nullptr ? nullptr : pod_of(event, in_force.registry);
  const endpoint::Endpoint* peer =
      registry == nullptr ? nullptr
                          : registry->by_address(redirect::from_abi(egress ? event.tuple.destination
                                                                           : event.tuple.source));
  row.source =
      end_of(event.tuple.source, event.tuple.source_port_be, with_ports, egress ? own : peer);
  row.destination = end_of(event.tuple.destination, event.tuple.destination_port_be, with_ports,
                           egress ? peer : own);
  admin::FlowRow::End& other = egress ? row.destination : row.source;
  if (event.identity != 0) {
    other.identity = event.identity;
  } else if (registry != nullptr) {
    other.identity = registry->identity_of(other.ip);
  }
  if (in_force.program != nullptr) {
    other.entity = entity_of(other.identity, *in_force.program);
    name_rule(event, in_force, row);
  }
  if (event.verdict != WEIR_DENY || own == nullptr ||
      (event.reason != WEIR_DROP_POLICY && event.reason != WEIR_DROP_FQDN_EXPIRED)) {
    return row;
  }
  if (egress) {
    if (const auto expired = x_cache.expired(own->id, other.ip)) {
      row.reason = "FQDN_EXPIRED name=" + shown_name(expired->name) +
                   " age=" + std::to_string(expired->age.count()) + "s";
      return row;
    }
  }
  if (event.time_ns >= x_rules_since_ns) {
    row.nearest = nearest({.endpoint = own->id,
                           .peer = other.identity,
                           .direction = event.direction,
                           .protocol = event.tuple.protocol,
                           .port = ntohs(event.tuple.destination_port_be)},
                          in_force);
  }
  return row;
}

const endpoint::Endpoint*
FlowRows::pod_of(const weir_event& event,
                 const std::shared_ptr<const endpoint::Registry>& registry) {
  const endpoint::Endpoint* by_address = registry->by_address(redirect::from_abi(
      event.direction == WEIR_EGRESS ? event.tuple.source : event.tuple.destination));
  if (by_address != nullptr && by_address->id == event.endpoint) {
    return by_address;
  }
  if (x_numbered != registry) {
    x_numbered = registry;
    x_pods = registry->by_id();
  }
  const auto found = x_pods.find(event.endpoint);
  return found == x_pods.end() ? nullptr : found->second;
}

// Policy was asked where it allowed, or where the reason is policy's.
void FlowRows::name_rule(const weir_event& event, const Controller::InForce& in_force,
                         admin::FlowRow& row) const {
  const bool asked = event.verdict != WEIR_DENY || event.reason == WEIR_DROP_POLICY ||
                     event.reason == WEIR_DROP_POLICY_DENY ||
                     event.reason == WEIR_DROP_FQDN_EXPIRED;
  if (!asked || event.time_ns < x_rules_since_ns) {
    return;
  }
  if (const policy::RuleRef* rule = in_force.program->rule(event.rule)) {
    row.policy = rule->label;
    if (rule->rule_number != 0) {
      row.rule = rule->section + " rule " + std::to_string(rule->rule_number);
    }
  }
}

bool FlowRows::may_explain(std::uint64_t now_ns) {
  const std::uint64_t second = now_ns / kSecondNs;
  if (second != x_second) {
    x_second = second;
    x_explanations = 0;
  }
  return x_explanations++ < kExplanationsPerSecond;
}

std::string FlowRows::nearest(const Asked& asked, const Controller::InForce& in_force) {
  if (in_force.input == nullptr || in_force.program == nullptr || !has_ports(asked.protocol)) {
    return {};
  }
  if (x_explained.program != in_force.program) {
    x_explainer.reset();
    x_nearest.clear();
    x_explained = in_force;
  }
  if (const auto known = x_nearest.find(asked); known != x_nearest.end()) {
    return known->second;
  }
  if (!may_explain(boottime_ns())) {
    return {};
  }
  if (!x_explainer) {
    x_explanations += kCostOfExplainer;
    x_explainer.emplace(*x_explained.input, *x_explained.program);
  }
  policy::Question question;
  question.endpoint = asked.endpoint;
  question.flow = {.direction = static_cast<policy::Direction>(asked.direction),
                   .peer = asked.peer,
                   .protocol = asked.protocol,
                   .port = asked.port,
                   .fqdn_groups = 0};
  const auto explained = x_explainer->explain(question);
  if (x_nearest.size() >= kRemembered) {
    x_nearest.clear();
  }
  std::string text =
      explained && !explained->nearest.empty() ? explained->nearest.front().text : std::string();
  return x_nearest.emplace(asked, std::move(text)).first->second;
}

} // namespace weir::control
