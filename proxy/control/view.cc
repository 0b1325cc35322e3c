#include "proxy/control/view.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace weir::control {
namespace {

std::string state_of(const endpoint::Endpoint& known, const policy::EndpointPolicy* policy,
                     redirect::Redirector& redirector) {
  if (policy == nullptr || (known.local && known.interface.empty())) {
    return known.is_local() ? "held" : "remote";
  }
  if (!known.interface.empty() && !redirector.attached(known.interface)) {
    return "detached";
  }
  const bool enforced =
      policy->enforced(policy::Direction::kIngress) || policy->enforced(policy::Direction::kEgress);
  return enforced ? "enforced" : "untouched";
}

} // namespace

std::vector<admin::EndpointRow> endpoint_rows(const policy::Program& program,
                                              const endpoint::Registry& registry,
                                              redirect::Redirector& redirector) {
  std::vector<admin::EndpointRow> rows;
  rows.reserve(registry.endpoints().size());
  registry.endpoints().for_each([&](const std::string& /*name*/, const auto& pod) {
    const endpoint::Endpoint& known = *pod;
    const policy::EndpointPolicy* policy = program.find(known.id);
    std::vector<std::string> ips;
    for (const auto& address : known.addresses) {
      ips.push_back(address.to_string());
    }
    std::set<std::string> policies;
    if (policy != nullptr) {
      for (const auto& row : policy->rows()) {
        if (const auto* rule = program.rule(row.entry.rule);
            rule != nullptr && rule != &policy::default_deny()) {
          policies.insert(rule->label);
        }
      }
    }
    rows.push_back({known.endpoint_namespace,
                    known.name,
                    known.identity,
                    *known.labels,
                    std::move(ips),
                    known.interface,
                    {policies.begin(), policies.end()},
                    state_of(known, policy, redirector)});
  });
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.endpoint_namespace, a.name) < std::tie(b.endpoint_namespace, b.name);
  });
  return rows;
}

std::string shown_name(const DnsName& name) {
  std::string text = name.to_text();
  if (text.size() > 1) {
    text.pop_back();
  }
  return text;
}

} // namespace weir::control
