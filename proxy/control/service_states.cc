#include "proxy/control/service_states.h"

#include <netinet/in.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <variant>

namespace weir::control {

namespace {

bool selects(const endpoint::ServiceSpec& service, const endpoint::PodSpec& pod) {
  return pod.pod_namespace == service.service_namespace &&
         std::all_of(service.selector.begin(), service.selector.end(), [&](const auto& label) {
           const auto own = pod.labels.find(label.first);
           return own != pod.labels.end() && own->second == label.second;
         });
}

std::optional<std::uint16_t> target_port(const endpoint::ServicePort& port,
                                         const endpoint::PodSpec& pod) {
  if (const auto* number = std::get_if<std::uint16_t>(&port.target)) {
    return *number;
  }
  const auto& name = std::get<std::string>(port.target);
  for (const auto& named : pod.named_ports) {
    if (named.name == name && named.protocol == port.protocol) {
      return named.port;
    }
  }
  return std::nullopt;
}

std::vector<SocketAddress> backends_of(const endpoint::ClusterSpec& cluster,
                                       const endpoint::ServiceSpec& service,
                                       const endpoint::ServicePort& port, bool v4) {
  std::vector<SocketAddress> backends;
  if (service.backends) {
    for (const auto& told : *service.backends) {
      if (told.port == port.name && told.protocol == port.protocol) {
        std::copy_if(told.addresses.begin(), told.addresses.end(), std::back_inserter(backends),
                     [v4](const SocketAddress& address) { return address.ip.is_v4() == v4; });
      }
    }
    return backends;
  }
  if (service.selector.empty()) {
    const auto* number = std::get_if<std::uint16_t>(&port.target);
    for (const IpAddress& address : service.endpoints) {
      if (address.is_v4() == v4) {
        backends.push_back({address, number != nullptr ? *number : port.port});
      }
    }
    return backends;
  }
  cluster.pods.for_each([&](const std::string& /*name*/, const auto& pod) {
    const auto target = selects(service, *pod) ? target_port(port, *pod) : std::nullopt;
    for (const IpAddress& address : pod->addresses) {
      if (target && address.is_v4() == v4) {
        backends.push_back({address, *target});
      }
    }
  });
  std::sort(backends.begin(), backends.end());
  return backends;
}

} // namespace

std::vector<redirect::ServiceState>
service_states(const endpoint::ClusterSpec& cluster,
               const std::function<bool(const IpAddress&)>& guarded) {
  std::vector<redirect::ServiceState> states;
  for (const auto* service : endpoint::in_order(cluster.services)) {
    for (const IpAddress& address : service->cluster_addresses) {
      for (const auto& port : service->ports) {
        if (port.protocol != IPPROTO_TCP && port.protocol != IPPROTO_UDP) {
          continue; // left to the cluster's own translation
        }
        redirect::ServiceState state;
        state.address = {address, port.port};
        state.protocol = port.protocol;
        state.backends = backends_of(cluster, *service, port, address.is_v4());
        state.affinity = service->affinity;
        state.guarded = std::any_of(state.backends.begin(), state.backends.end(),
                                    [&](const auto& backend) { return guarded(backend.ip); });
        states.push_back(std::move(state));
      }
    }
  }
  return states;
}

} // namespace weir::control
