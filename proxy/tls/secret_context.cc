#include "proxy/tls/secret_context.h"

namespace weir::tls {
namespace {

const std::string& name_or(const std::string& name, const std::string& otherwise) {
  return name.empty() ? otherwise : name;
}

const std::string kCa = "ca.crt", kCertificate = "tls.crt", kKey = "tls.key";

Result<std::string_view> needed(const Secret& secret, const std::string& name) {
  const std::string* item = secret.item(name);
  if (item == nullptr) {
    return invalid_error("no item " + name);
  }
  return std::string_view(*item);
}

Result<KeyPair> needed_pair(const policy::TlsContext& terms, const Secret& secret) {
  const auto certificates = needed(secret, name_or(terms.certificate, kCertificate));
  if (!certificates) {
    return certificates.error();
  }
  const auto key = needed(secret, name_or(terms.private_key, kKey));
  if (!key) {
    return key.error();
  }
  return KeyPair{*certificates, *key};
}

} // namespace

Result<Context> terminating_context(const policy::TlsContext& terms, const Secret& secret) {
  const auto own = needed_pair(terms, secret);
  if (!own) {
    return own.error();
  }
  std::string_view client_ca;
  if (!terms.trusted_ca.empty()) {
    const auto named = needed(secret, terms.trusted_ca);
    if (!named) {
      return named.error();
    }
    if (named->empty()) {
      return invalid_error("item " + terms.trusted_ca + " is empty");
    }
    client_ca = *named;
  }
  return make_server_context(*own, client_ca);
}

Result<Context> originating_context(const policy::TlsContext& terms, const Secret& secret) {
  const auto trusted = needed(secret, name_or(terms.trusted_ca, kCa));
  if (!trusted) {
    return trusted.error();
  }
  KeyPair own;
  const bool has_own = !terms.certificate.empty() || !terms.private_key.empty() ||
                       secret.item(kCertificate) != nullptr;
  if (has_own) {
    const auto pair = needed_pair(terms, secret);
    if (!pair) {
      return pair.error();
    }
    own = *pair;
  }
  return make_client_context(*trusted, own);
}

} // namespace weir::tls
