// A secret as policy names it → an OpenSSL context. Which item is which follows the reference
// implementation: items that the policy names must be there; without names they are ca.crt,
// tls.crt and tls.key. On purpose stricter or other:
//
// - terminating: clients must show a certificate only where the policy itself names `trustedCA`.
//   Secrets of cert-manager have a ca.crt always.
// - originating: a trusted CA has to be there. An own certificate is shown when the secret has one.
#pragma once

#include "policy-compiler/runtime/tls_context.h"
#include "proxy/base/secret_set.h"
#include "proxy/tls/context.h"

namespace weir::tls {

[[nodiscard]] Result<Context> terminating_context(const policy::TlsContext& terms,
                                                  const Secret& secret);
[[nodiscard]] Result<Context> originating_context(const policy::TlsContext& terms,
                                                  const Secret& secret);

} // namespace weir::tls
