#include "test/unit/tls/openssl_peer.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <stdexcept>

namespace weir::test {
namespace {

constexpr unsigned kPaddingExtension = 0xfff0; // nobody's

void must(bool ok, const char* what) {
  if (!ok) {
    throw std::runtime_error(what);
  }
}

int add_padding(SSL* /*ssl*/, unsigned /*type*/, unsigned /*context*/, const unsigned char** out,
                std::size_t* out_size, X509* /*x*/, std::size_t /*index*/, int* /*alert*/,
                void* argument) {
  const auto& padding = *static_cast<const ByteVector*>(argument);
  *out = padding.data();
  *out_size = padding.size();
  return 1;
}

void use_fresh_certificate(SSL_CTX* context) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
  must(key && certificate, "make a key and a certificate");
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  must(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "sign a certificate");
  must(SSL_CTX_use_certificate(context, certificate.get()) == 1, "use the certificate");
  must(SSL_CTX_use_PrivateKey(context, key.get()) == 1, "use the key");
}

} // namespace

OpensslConnection::OpensslConnection(SSL_CTX* context, Role role) : x_ssl(SSL_new(context)) {
  must(x_ssl != nullptr, "make a connection");
  SSL_set_bio(x_ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  // An empty memory BIO means "more may come", not the end.
  BIO_set_mem_eof_return(SSL_get_rbio(x_ssl.get()), -1);
  if (role == Role::kClient) {
    SSL_set_connect_state(x_ssl.get());
  } else {
    SSL_set_accept_state(x_ssl.get());
  }
}

void OpensslConnection::feed(const ByteVector& bytes) {
  if (!bytes.empty()) {
    BIO_write(SSL_get_rbio(x_ssl.get()), bytes.data(), static_cast<int>(bytes.size()));
  }
  ERR_clear_error();
  SSL_do_handshake(x_ssl.get());
}

ByteVector OpensslConnection::take_output() {
  BIO* out = SSL_get_wbio(x_ssl.get());
  ByteVector bytes(BIO_ctrl_pending(out));
  if (!bytes.empty()) {
    BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
  }
  return bytes;
}

SslContext openssl_client(const ClientOptions& options) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  must(context != nullptr, "make a client context");
  // Level 0: the old versions are wanted here.
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_min_proto_version(context.get(), options.min_version);
  SSL_CTX_set_max_proto_version(context.get(), options.max_version);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  return context;
}

void set_client_options(SSL* ssl, const ClientOptions& options) {
  if (!options.server_name.empty()) {
    must(SSL_set_tlsext_host_name(ssl, options.server_name.c_str()) == 1, "set the server name");
  }
  if (!options.alpn.empty()) {
    ByteVector wire;
    for (const std::string& protocol : options.alpn) {
      wire.push_back(static_cast<std::uint8_t>(protocol.size()));
      wire.insert(wire.end(), protocol.begin(), protocol.end());
    }
    must(SSL_set_alpn_protos(ssl, wire.data(), static_cast<unsigned>(wire.size())) == 0,
         "set ALPN");
  }
  if (!options.groups.empty()) {
    must(SSL_set1_groups_list(ssl, options.groups.c_str()) == 1, "set groups");
  }
}

ByteVector openssl_hello(const ClientOptions& options) {
  const SslContext context = openssl_client(options);
  ByteVector padding(options.padding, 0);
  if (options.padding > 0) {
    must(SSL_CTX_add_custom_ext(context.get(), kPaddingExtension, SSL_EXT_CLIENT_HELLO, add_padding,
                                nullptr, &padding, nullptr, nullptr) == 1,
         "add the padding extension");
  }
  OpensslConnection connection(context.get(), OpensslConnection::Role::kClient);
  set_client_options(connection.ssl(), options);
  connection.feed({});
  return connection.take_output();
}

OpensslServer::OpensslServer() : x_context(SSL_CTX_new(TLS_server_method())) {
  must(x_context != nullptr, "make a server context");
  SSL_CTX_set_security_level(x_context.get(), 0);
  SSL_CTX_set_min_proto_version(x_context.get(), TLS1_VERSION);
  SSL_CTX_set_cipher_list(x_context.get(), "ALL:@SECLEVEL=0");
  SSL_CTX_set_session_cache_mode(x_context.get(), SSL_SESS_CACHE_OFF);
  use_fresh_certificate(x_context.get());
}

void OpensslServer::only_groups(const std::string& groups) {
  must(SSL_CTX_set1_groups_list(x_context.get(), groups.c_str()) == 1, "set groups");
}

OpensslServer::Reading OpensslServer::read(const ByteVector& bytes) {
  OpensslConnection connection(x_context.get(), OpensslConnection::Role::kServer);
  connection.feed(bytes);
  Reading reading;
  if (const char* name = SSL_get_servername(connection.ssl(), TLSEXT_NAMETYPE_host_name)) {
    reading.server_name = name;
  }
  reading.answer = connection.take_output();
  reading.accepted = !reading.answer.empty() && reading.answer[0] == 22;
  return reading;
}

} // namespace weir::test
