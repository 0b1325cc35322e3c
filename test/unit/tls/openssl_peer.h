// OpenSSL as the other side: makes real ClientHellos, and says what a server reads in one. Only
// memory, no sockets.
#pragma once

#include "test/unit/tls/hello_builder.h"

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::test {

struct SslContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextDeleter>;
struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Ssl = std::unique_ptr<SSL, SslDeleter>;

struct ClientOptions {
  int min_version = TLS1_2_VERSION;
  int max_version = TLS1_3_VERSION;
  std::string server_name;       // empty: none sent
  std::vector<std::string> alpn; // empty: none offered
  std::string groups;            // as SSL_set1_groups_list takes it; empty: OpenSSL's own
  std::size_t padding = 0;       // bytes of an extension that makes the hello longer
};

[[nodiscard]] ByteVector openssl_hello(const ClientOptions& options);

// A server with a fresh self-signed P-256 certificate, any TLS version.
class OpensslServer {
public:
  OpensslServer();

  struct Reading {
    bool accepted = false; // answered with a ServerHello or HelloRetryRequest
    std::optional<std::string> server_name;
    ByteVector answer; // what it would send
  };
  // A connection of its own for each call.
  [[nodiscard]] Reading read(const ByteVector& bytes);
  // As SSL_CTX_set1_groups_list takes it: a client without a share of these is told to retry.
  void only_groups(const std::string& groups);
  [[nodiscard]] SSL_CTX* context() { return x_context.get(); }

private:
  SslContext x_context;
};

// A connection over memory. feed() gives it bytes of the peer and goes on with the handshake;
// taken output is what it wants to send.
class OpensslConnection {
public:
  enum class Role { kClient, kServer };
  OpensslConnection(SSL_CTX* context, Role role);

  void feed(const ByteVector& bytes);
  [[nodiscard]] ByteVector take_output();
  [[nodiscard]] SSL* ssl() { return x_ssl.get(); }

private:
  Ssl x_ssl;
};

[[nodiscard]] SslContext openssl_client(const ClientOptions& options);
void set_client_options(SSL* ssl, const ClientOptions& options);

} // namespace weir::test
