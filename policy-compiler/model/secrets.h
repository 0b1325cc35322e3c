// Which secrets a policy names, and for what: so that these are read, and no others. Pure.
#pragma once

#include "policy-compiler/model/policy.h"

#include <cstdint>
#include <vector>

namespace weir::policy {

struct SecretUse {
  enum class Purpose : std::uint8_t { kTerminating, kOriginating, kHeader };
  Purpose purpose;
  TlsContext context; // kHeader: only the secret

  auto operator<=>(const SecretUse&) const = default;
};

// Each once; namespaces filled in as the policy's rules mean them. A secret of a cluster-wide
// policy that gives no namespace has none, and is nowhere.
[[nodiscard]] std::vector<SecretUse> secrets_of(const Policy& policy);

} // namespace weir::policy
