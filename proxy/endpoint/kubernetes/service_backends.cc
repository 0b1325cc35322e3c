#include "proxy/endpoint/kubernetes/service_backends.h"

#include <set>
#include <utility>

namespace weir::endpoint::kubernetes {

std::vector<ServiceBackends> ServiceBackendsBuilder::backends_of(const std::string& service,
                                                                 bool same_node) const {
  struct Found {
    std::set<SocketAddress> ready, ending; // sets: a pod may stand in two slices for a moment
  };
  std::map<std::pair<std::string, std::uint8_t>, Found> ports;
  const auto slices = x_slices.find(service);
  if (slices == x_slices.end()) {
    return {};
  }
  for (const SliceObject* slice : slices->second) {
    for (const auto& port : slice->ports) {
      Found& found = ports[{port.name, port.protocol}];
      for (const auto& backend : slice->backends) {
        if (port.number == 0 || (same_node && backend.node != x_node) ||
            !(backend.ready || backend.serving)) {
          continue;
        }
        for (const IpAddress& address : backend.addresses) {
          (backend.ready ? found.ready : found.ending).insert({address, port.number});
        }
      }
    }
  }
  std::vector<ServiceBackends> backends;
  for (const auto& [port, found] : ports) {
    const auto& chosen = found.ready.empty() ? found.ending : found.ready;
    backends.push_back({port.first, port.second, {chosen.begin(), chosen.end()}});
  }
  return backends;
}

std::vector<IpAddress> ServiceBackendsBuilder::addresses_of(const std::string& service) const {
  std::set<IpAddress> addresses;
  const auto slices = x_slices.find(service);
  if (slices != x_slices.end()) {
    for (const SliceObject* slice : slices->second) {
      for (const auto& backend : slice->backends) {
        addresses.insert(backend.addresses.begin(), backend.addresses.end());
      }
    }
  }
  return {addresses.begin(), addresses.end()};
}

} // namespace weir::endpoint::kubernetes
