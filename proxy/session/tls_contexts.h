// The OpenSSL contexts of one worker, made when a connection first needs them and kept until the
// secret that they were made of is another one. On the worker's thread only; connections may
// outlive their context's place here.
#pragma once

#include "policy-compiler/runtime/tls_context.h"
#include "proxy/base/secret_set.h"
#include "proxy/tls/context.h"

#include <map>
#include <memory>

namespace weir::session {

class TlsContexts {
public:
  // Null: the secret is missing or broken; the control plane says why (/policies). The pointer is
  // good until the next call. `secrets`: the present snapshot's.
  [[nodiscard]] SSL_CTX* terminating(const policy::TlsContext& terms,
                                     const std::shared_ptr<const SecretSet>& secrets);
  [[nodiscard]] SSL_CTX* originating(const policy::TlsContext& terms,
                                     const std::shared_ptr<const SecretSet>& secrets);

private:
  struct Made {
    std::shared_ptr<const Secret> of;
    tls::Context context; // null: it cannot be made of that
  };
  using Cache = std::map<policy::TlsContext, Made>;
  using Make = Result<tls::Context> (*)(const policy::TlsContext&, const Secret&);

  SSL_CTX* find(Cache& cache, Make make, const policy::TlsContext& terms,
                const std::shared_ptr<const SecretSet>& secrets);

  std::shared_ptr<const SecretSet> x_secrets; // that the caches are in step with
  Cache x_terminating, x_originating;
};

} // namespace weir::session
