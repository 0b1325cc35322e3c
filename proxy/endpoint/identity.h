// Gives out the numbers that the kernel's maps are keyed by, and remembers them over restarts: an
// identity for each set of labels, one for each prefix that policies name, an id for each
// endpoint, a bit for each FQDN group of an endpoint. A number never changes its meaning while a
// pinned map may still hold it; without that, a restart would be a moment of wrong verdicts.
//
// Control thread only.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace weir::endpoint {

class IdentityAllocator final : public policy::PrefixIdentities, public policy::FqdnGroupBits {
public:
  // `seed` is where numbering starts when there is no state: pass the time in seconds, so that
  // numbers of a lost state file are not given out anew while old maps are still pinned.
  explicit IdentityAllocator(std::uint32_t seed);

  policy::IdentityId identity_of(const policy::Labels& labels);
  policy::EndpointId endpoint_id(const std::string& full_name);
  policy::IdentityId identity_of(const IpPrefix& prefix) override;
  // 64 bits an endpoint. Groups not asked for since begin_compile() keep theirs until
  // release_unused().
  std::optional<unsigned> bit_of(policy::EndpointId endpoint, const std::string& group) override;

  void begin_compile();
  // Frees the bits of groups that the last compile did not ask for. Only when no learned entry
  // carries them any more.
  void release_unused();
  // Bits that the last compile asked for.
  [[nodiscard]] std::uint64_t bits_in_use(policy::EndpointId endpoint) const;

  // JSON with a version. restore() of anything else is an error and changes nothing.
  [[nodiscard]] std::string serialize() const;
  Result<void> restore(const std::string& text);
  // True since the last serialize() if a number was given out or freed.
  [[nodiscard]] bool dirty() const { return x_dirty; }

private:
  struct Group {
    unsigned bit = 0;
    bool used = false;
  };

  std::uint32_t x_next_identity;
  std::uint32_t x_next_prefix;
  std::uint32_t x_next_endpoint;
  std::map<policy::Labels, policy::IdentityId> x_identities;
  std::map<IpPrefix, policy::IdentityId> x_prefixes;
  std::map<std::string, policy::EndpointId> x_endpoints;
  std::map<policy::EndpointId, std::map<std::string, Group>> x_groups;
  mutable bool x_dirty = false;
};

} // namespace weir::endpoint
