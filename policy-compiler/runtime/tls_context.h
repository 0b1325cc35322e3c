// What a rule says of TLS on one side of the proxy: which secret, and which of its items. What the
// items hold is read elsewhere (proxy/control/secret_store.h): policy knows secrets by name only.
#pragma once

#include <compare>
#include <string>

namespace weir::policy {

struct SecretRef {
  std::string secret_namespace, name;

  // "namespace/name"
  [[nodiscard]] std::string full_name() const { return secret_namespace + "/" + name; }
  auto operator<=>(const SecretRef&) const = default;
};

// Items by the name that the policy gives; empty: ca.crt, tls.crt and tls.key.
struct TlsContext {
  SecretRef secret;
  std::string trusted_ca, certificate, private_key;

  auto operator<=>(const TlsContext&) const = default;
};

} // namespace weir::policy
