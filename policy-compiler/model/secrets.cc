#include "policy-compiler/model/secrets.h"

#include <set>
#include <utility>

namespace weir::policy {

std::vector<SecretUse> secrets_of(const Policy& policy) {
  std::set<SecretUse> uses;
  const auto add = [&](SecretUse::Purpose purpose, TlsContext context) {
    if (context.secret.secret_namespace.empty()) {
      context.secret.secret_namespace = policy.policy_namespace;
    }
    uses.insert({purpose, std::move(context)});
  };
  for (const Spec& spec : policy.specs) {
    for (const Rule& rule : spec.rules) {
      for (const PortRule& ports : rule.ports) {
        if (ports.terminating && ports.unsupported.empty()) {
          add(SecretUse::Purpose::kTerminating, *ports.terminating);
        }
        if (ports.originating && ports.unsupported.empty()) {
          add(SecretUse::Purpose::kOriginating, *ports.originating);
        }
        for (const HttpRule& http : ports.http) {
          for (const HeaderRule& header : http.headers) {
            if (header.secret) {
              add(SecretUse::Purpose::kHeader, {*header.secret, {}, {}, {}});
            }
          }
        }
      }
    }
  }
  return {uses.begin(), uses.end()};
}

} // namespace weir::policy
