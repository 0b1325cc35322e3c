// OpenSSL contexts, made of PEM texts: what weir shows clients as a server, and whom it believes
// as a client. TLS 1.2 and 1.3; no renegotiation, compression, resumption or early data, so that
// every connection is verified by what is in force when it begins.
//
// Immutable once made. One thread's, because SSL_new counts references in them.
#pragma once

#include "proxy/base/result.h"

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

namespace weir::tls {

struct DeleteContext {
  void operator()(SSL_CTX* context) const;
};
using Context = std::unique_ptr<SSL_CTX, DeleteContext>;

// A certificate with the chain above it, and its key; both empty where there is none.
struct KeyPair {
  std::string_view certificates, private_key;
};

// client_ca: certificates, one of which must have issued the client's; empty: clients show none.
[[nodiscard]] Result<Context> make_server_context(const KeyPair& own, std::string_view client_ca);
// trusted_ca: one of these must have issued the server's certificate. There is no other list:
// what is not verified is not spoken to.
[[nodiscard]] Result<Context> make_client_context(std::string_view trusted_ca, const KeyPair& own);

} // namespace weir::tls
