// Turns what the kernel says of a flow into what people read: names of pods, of the policy and rule
// that decided, and for a denied flow why. Control thread.
#pragma once

#include "policy-compiler/explain/explain.h"
#include "proxy/admin/flow_log.h"
#include "proxy/control/controller.h"
#include "proxy/dns/fqdn_cache.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

namespace weir::control {

class FlowRows {
public:
  // The cache outlives it. `rules_since_ns` (boot time): an event that is older was decided by rows
  // of an earlier process, whose numbers of rules mean nothing here.
  FlowRows(const dns::FqdnCache& cache, std::uint64_t rules_since_ns);

  [[nodiscard]] admin::FlowRow row_of(const weir_event& event, const Controller::InForce& in_force);

private:
  // What came nearest is the same for all flows that policy sees alike.
  struct Asked {
    policy::EndpointId endpoint = 0;
    std::uint32_t peer = 0;
    std::uint8_t direction = 0, protocol = 0;
    std::uint16_t port = 0;
    auto operator<=>(const Asked&) const = default;
  };

  // Whose policy was asked; null: a pod that is gone.
  const endpoint::Endpoint* pod_of(const weir_event& event,
                                   const std::shared_ptr<const endpoint::Registry>& registry);
  void name_rule(const weir_event& event, const Controller::InForce& in_force,
                 admin::FlowRow& row) const;
  [[nodiscard]] std::string nearest(const Asked& asked, const Controller::InForce& in_force);
  bool may_explain(std::uint64_t now_ns);

  const dns::FqdnCache& x_cache;
  const std::uint64_t x_rules_since_ns;

  // This node's pods, made when an address does not tell whose packet it is: one of another's.
  std::shared_ptr<const endpoint::Registry> x_numbered; // what the next was made of
  std::unordered_map<policy::EndpointId, const endpoint::Endpoint*> x_pods;

  Controller::InForce x_explained; // what the next two were made of
  std::optional<policy::Explainer> x_explainer;
  std::map<Asked, std::string> x_nearest;
  std::uint64_t x_second = 0;
  unsigned x_explanations = 0; // in that second
};

} // namespace weir::control
