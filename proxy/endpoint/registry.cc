#include "proxy/endpoint/registry.h"

#include <algorithm>
#include <utility>

namespace weir::endpoint {

PrefixTable::PrefixTable(std::vector<policy::Program::Prefix> prefixes)
    : x_prefixes(std::move(prefixes)) {
  std::vector<policy::Program::Prefix> sorted = x_prefixes;
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.prefix.mapped_length() > b.prefix.mapped_length();
  });
  for (const auto& [prefix, identity] : sorted) {
    auto& lengths = prefix.is_v4() ? x_v4_lengths : x_v6_lengths;
    if (lengths.empty() || lengths.back().mapped_length != prefix.mapped_length()) {
      lengths.push_back({prefix.mapped_length(), {}});
    }
    lengths.back().cells.emplace(prefix.address(), identity);
  }
}

std::optional<policy::IdentityId> PrefixTable::identity_of(const IpAddress& address) const {
  const bool v4 = address.is_v4();
  for (const auto& [mapped_length, cells] : v4 ? x_v4_lengths : x_v6_lengths) {
    const auto length = static_cast<std::uint8_t>(v4 ? mapped_length - 96 : mapped_length);
    const auto found = cells.find(IpPrefix(address, length).address());
    if (found != cells.end()) {
      return found->second;
    }
  }
  return std::nullopt;
}

Registry::Registry(EndpointsByName endpoints, EndpointsByAddress by_address,
                   std::shared_ptr<const PrefixTable> prefixes)
    : x_endpoints(std::move(endpoints)), x_by_address(std::move(by_address)),
      x_prefixes(std::move(prefixes)) {}

Registry::Registry(std::vector<Endpoint> endpoints, std::vector<policy::Program::Prefix> prefixes)
    : x_prefixes(std::make_shared<const PrefixTable>(std::move(prefixes))) {
  EndpointsByName::Editor by_name{{}};
  EndpointsByAddress::Editor by_address{{}};
  for (Endpoint& endpoint : endpoints) {
    const auto shared = std::make_shared<const Endpoint>(std::move(endpoint));
    for (const auto& address : shared->addresses) {
      by_address.set(address, shared);
    }
    by_name.set(shared->full_name(), shared);
  }
  x_endpoints = by_name.take();
  x_by_address = by_address.take();
}

const Endpoint* Registry::by_address(const IpAddress& address) const {
  const auto* found = x_by_address.find(address);
  return found == nullptr ? nullptr : found->get();
}

const Endpoint* Registry::by_name(std::string_view full_name) const {
  const auto* found = x_endpoints.find(std::string(full_name));
  return found == nullptr ? nullptr : found->get();
}

std::unordered_map<policy::EndpointId, const Endpoint*> Registry::by_id() const {
  std::unordered_map<policy::EndpointId, const Endpoint*> numbered;
  x_endpoints.for_each([&](const std::string& /*name*/, const EndpointPtr& pod) {
    if (pod->id != 0) {
      numbered.emplace(pod->id, pod.get());
    }
  });
  return numbered;
}

policy::IdentityId Registry::identity_of(const IpAddress& address) const {
  if (const Endpoint* endpoint = by_address(address)) {
    return endpoint->identity;
  }
  const auto world = address.is_v4() ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
  return x_prefixes->identity_of(address).value_or(world);
}

} // namespace weir::endpoint
