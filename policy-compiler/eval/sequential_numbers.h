// Numbers for one compile that nothing outlives: prefixes and FQDN groups are counted as they come.
// For worked cases, tests and benches; what runs takes endpoint::IdentityAllocator, which
// remembers.
#pragma once

#include "policy-compiler/compile.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace weir::policy {

class SequentialPrefixes : public PrefixIdentities {
public:
  IdentityId identity_of(const IpPrefix& prefix) override {
    return numbers
        .try_emplace(prefix, static_cast<IdentityId>(WEIR_IDENTITY_FIRST_PREFIX + numbers.size()))
        .first->second;
  }

  std::map<IpPrefix, IdentityId> numbers;
};

class SequentialBits : public FqdnGroupBits {
public:
  std::optional<unsigned> bit_of(EndpointId endpoint, const std::string& group) override {
    constexpr std::size_t kBits = 64;
    auto& of_endpoint = bits[endpoint];
    if (of_endpoint.size() >= kBits && !of_endpoint.contains(group)) {
      return std::nullopt;
    }
    return of_endpoint.try_emplace(group, static_cast<unsigned>(of_endpoint.size())).first->second;
  }

  std::map<EndpointId, std::map<std::string, unsigned>> bits;
};

} // namespace weir::policy
