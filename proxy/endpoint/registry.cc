#include "proxy/endpoint/registry.h"

#include <algorithm>

namespace weir::endpoint {

Registry::Registry(std::vector<Endpoint> endpoints, std::vector<policy::Program::Prefix> prefixes)
    : x_endpoints(std::move(endpoints)) {
  for (std::size_t i = 0; i < x_endpoints.size(); ++i) {
    const Endpoint& endpoint = x_endpoints[i];
    for (const auto& address : endpoint.addresses) {
      x_by_address.emplace(address, i);
    }
    x_by_name.emplace(endpoint.full_name(), i);
    x_by_id.emplace(endpoint.id, i);
  }
  std::stable_sort(prefixes.begin(), prefixes.end(), [](const auto& a, const auto& b) {
    return a.prefix.mapped_length() > b.prefix.mapped_length();
  });
  for (const auto& [prefix, identity] : prefixes) {
    auto& lengths = prefix.is_v4() ? x_v4_lengths : x_v6_lengths;
    if (lengths.empty() || lengths.back().mapped_length != prefix.mapped_length()) {
      lengths.push_back({prefix.mapped_length(), {}});
    }
    lengths.back().cells.emplace(prefix.address(), identity);
  }
}

const Endpoint* Registry::by_address(const IpAddress& address) const {
  const auto found = x_by_address.find(address);
  return found == x_by_address.end() ? nullptr : &x_endpoints[found->second];
}

const Endpoint* Registry::by_name(std::string_view full_name) const {
  const auto found = x_by_name.find(std::string(full_name));
  return found == x_by_name.end() ? nullptr : &x_endpoints[found->second];
}

const Endpoint* Registry::by_id(policy::EndpointId id) const {
  const auto found = x_by_id.find(id);
  return found == x_by_id.end() ? nullptr : &x_endpoints[found->second];
}

policy::IdentityId Registry::identity_of(const IpAddress& address) const {
  if (const Endpoint* endpoint = by_address(address)) {
    return endpoint->identity;
  }
  const bool v4 = address.is_v4();
  for (const auto& [mapped_length, cells] : v4 ? x_v4_lengths : x_v6_lengths) {
    const auto length = static_cast<std::uint8_t>(v4 ? mapped_length - 96 : mapped_length);
    const auto found = cells.find(IpPrefix(address, length).address());
    if (found != cells.end()) {
      return found->second;
    }
  }
  return v4 ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
}

} // namespace weir::endpoint
