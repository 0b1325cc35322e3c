#include "proxy/session/tls_contexts.h"

#include "proxy/tls/secret_context.h"

#include <utility>

namespace weir::session {
namespace {

std::shared_ptr<const Secret> secret_of(const policy::TlsContext& terms,
                                        const std::shared_ptr<const SecretSet>& secrets) {
  if (secrets == nullptr) {
    return nullptr;
  }
  const auto found = secrets->find(terms.secret.full_name());
  return found == secrets->end() ? nullptr : found->second;
}

} // namespace

SSL_CTX* TlsContexts::terminating(const policy::TlsContext& terms,
                                  const std::shared_ptr<const SecretSet>& secrets) {
  return find(x_terminating, tls::terminating_context, terms, secrets);
}

SSL_CTX* TlsContexts::originating(const policy::TlsContext& terms,
                                  const std::shared_ptr<const SecretSet>& secrets) {
  return find(x_originating, tls::originating_context, terms, secrets);
}

SSL_CTX* TlsContexts::find(Cache& cache, Make make, const policy::TlsContext& terms,
                           const std::shared_ptr<const SecretSet>& secrets) {
  if (x_secrets != secrets) {
    x_secrets = secrets;
    for (Cache* each : {&x_terminating, &x_originating}) {
      std::erase_if(*each, [&](const auto& entry) {
        return entry.second.of != secret_of(entry.first, secrets);
      });
    }
  }
  const auto [at, is_new] = cache.try_emplace(terms);
  if (is_new) {
    at->second.of = secret_of(terms, secrets);
    if (at->second.of != nullptr) {
      if (auto made = make(terms, *at->second.of)) {
        at->second.context = std::move(*made);
      }
    }
  }
  return at->second.context.get();
}

} // namespace weir::session
