#include "proxy/tls/context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <climits>
#include <vector>

namespace weir::tls {

void DeleteContext::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// OpenSSL's queue of errors is the thread's; what is left in it would be taken for a later call's.
Error openssl_error(std::string context) {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return invalid_error(std::move(context) + (reason != nullptr ? std::string(": ") + reason : ""));
}

Owned<BIO> bio_of(std::string_view text) {
  return Owned<BIO>(
      BIO_new_mem_buf(text.data(), static_cast<int>(std::min<std::size_t>(text.size(), INT_MAX))));
}

// Nobody is there to be asked for a pass phrase.
int no_pass_phrase(char* /*into*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

Result<std::vector<Owned<X509>>> read_certificates(std::string_view pem) {
  std::vector<Owned<X509>> out;
  const Owned<BIO> bio = bio_of(pem);
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, no_pass_phrase, nullptr)) {
    out.emplace_back(one);
  }
  // The end of the text is an error like any other.
  const unsigned long code = ERR_peek_last_error();
  if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE) {
    return openssl_error("certificates cannot be read");
  }
  ERR_clear_error();
  if (out.empty()) {
    return invalid_error("no certificate found");
  }
  return out;
}

Result<void> use_key_pair(SSL_CTX* context, const KeyPair& own) {
  const auto chain = read_certificates(own.certificates);
  if (!chain) {
    return chain.error();
  }
  if (SSL_CTX_use_certificate(context, chain->front().get()) != 1) {
    return openssl_error("the certificate cannot be used");
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, (*chain)[i].get()) != 1) {
      return openssl_error("the certificate's chain cannot be used");
    }
  }
  const Owned<BIO> bio = bio_of(own.private_key);
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
  if (!key) {
    return openssl_error("the private key cannot be read");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return openssl_error("the private key is not the certificate's");
  }
  return {};
}

Result<void> trust(SSL_CTX* context, std::string_view pem) {
  const auto authorities = read_certificates(pem);
  if (!authorities) {
    return Error{authorities.error().code, "trusted CA: " + authorities.error().context};
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  for (const auto& authority : *authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) {
      return openssl_error("the trusted CA cannot be used");
    }
  }
  return {};
}

Result<Context> make_context(const SSL_METHOD* method) {
  Context context(SSL_CTX_new(method));
  if (!context) {
    return openssl_error("make a TLS context");
  }
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  // Retries come with the same bytes at another place (tls_stream.cc); an idle connection is not
  // to hold 32 KiB of buffers.
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  return context;
}

} // namespace

Result<Context> make_server_context(const KeyPair& own, std::string_view client_ca) {
  auto context = make_context(TLS_server_method());
  if (!context) {
    return context;
  }
  if (const auto used = use_key_pair(context->get(), own); !used) {
    return used.error();
  }
  if (!client_ca.empty()) {
    if (const auto trusted = trust(context->get(), client_ca); !trusted) {
      return trusted.error();
    }
    SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

Result<Context> make_client_context(std::string_view trusted_ca, const KeyPair& own) {
  auto context = make_context(TLS_client_method());
  if (!context) {
    return context;
  }
  if (const auto trusted = trust(context->get(), trusted_ca); !trusted) {
    return trusted.error();
  }
  if (!own.certificates.empty()) {
    if (const auto used = use_key_pair(context->get(), own); !used) {
      return used.error();
    }
  }
  SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

} // namespace weir::tls
