// TlsStream between two memory streams: one is the server, one the client, every byte of either
// may come by itself, and either side may be full at any time.
#include "proxy/runtime/gate.h"
#include "proxy/tls/context.h"
#include "proxy/tls/tls_stream.h"
#include "test/support/fragmenting_stream.h"
#include "test/support/memory_stream.h"

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include <catch2/catch_test_macros.hpp>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::test;

namespace {

// A certificate for one DNS name that is its own authority, as PEM.
constexpr const char* kName = "api.example.test";

struct Pem {
  std::string certificate, key;
};

std::string text_of(BIO* bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Pem make_certificate(std::string_view name = kName) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  // By hand, so that the name can hold any byte.
  GENERAL_NAME* one_name = GENERAL_NAME_new();
  one_name->type = GEN_DNS;
  one_name->d.dNSName = ASN1_IA5STRING_new();
  ASN1_STRING_set(one_name->d.dNSName, name.data(), static_cast<int>(name.size()));
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  sk_GENERAL_NAME_push(names, one_name);
  X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
  GENERAL_NAMES_free(names);
  REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  const std::unique_ptr<BIO, decltype(&BIO_free)> one(BIO_new(BIO_s_mem()), BIO_free),
      two(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(one.get(), certificate.get());
  PEM_write_bio_PrivateKey(two.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(one.get()), text_of(two.get())};
}

struct Ends {
  // pieces: how many bytes go at once; room: how many may be under way.
  explicit Ends(std::size_t pieces = 1 << 20,
                std::size_t room = std::numeric_limits<std::size_t>::max(),
                std::string_view name = kName) {
    const Pem pem = make_certificate(name);
    server_context = std::move(*tls::make_server_context({pem.certificate, pem.key}, {}));
    client_context = std::move(*tls::make_client_context(pem.certificate, {}));
    const auto end_of = [&](tls::Context& of, std::optional<MemoryPeer>& peer) {
      MemoryConnection made = make_memory_connection(context);
      peer.emplace(made.peer);
      peer->limit(room);
      return std::make_unique<tls::TlsStream>(
          of.get(), std::make_unique<FragmentingStream>(std::move(made.stream), pieces, pieces),
          std::span<const std::uint8_t>{});
    };
    server = end_of(server_context, at_server);
    client = end_of(client_context, at_client);
  }
  ~Ends() {
    gate.close();
    run();
    CHECK(gate.running() == 0);
  }

  void poll() {
    context.restart();
    context.poll();
  }
  // Carries bytes from end to end as long as there are any.
  void run() {
    for (bool more = true; more;) {
      poll();
      const std::string up = at_client->take(), down = at_server->take();
      if (!up.empty()) {
        at_server->write(up);
      }
      if (!down.empty()) {
        at_client->write(down);
      }
      more = !up.empty() || !down.empty();
      if (at_client->ended()) {
        at_server->end();
      }
      if (at_server->ended()) {
        at_client->end();
      }
    }
    poll();
  }
  void shake(const std::string& name = kName, std::vector<std::string> offered = {"h2"},
             std::string chosen = "h2") {
    gate.spawn(accept(*this, std::move(chosen)));
    gate.spawn(connect(*this, name, std::move(offered)));
    run();
    UNSCOPED_INFO("accept: " << accepted.message() << ", connect: " << connected.message());
  }

  static boost::asio::awaitable<void> accept(Ends& self, std::string chosen) {
    self.accepted = co_await self.server->accept(chosen);
    self.accept_ended = true;
    if (self.accepted) {
      self.server->close();
    }
  }
  static boost::asio::awaitable<void> connect(Ends& self, std::string name,
                                              std::vector<std::string> offered) {
    self.connected = co_await self.client->connect(std::move(name), std::move(offered));
    self.connect_ended = true;
    if (self.connected) {
      self.client->close();
    }
  }
  // In two pieces, as a head and a body.
  static boost::asio::awaitable<void> say(net::Stream& stream, std::string text) {
    const std::string_view all(text);
    net::Gather gather{all.substr(0, all.size() / 3), all.substr(all.size() / 3)};
    net::ErrorCode error;
    if (!net::write_now(stream, gather, error)) {
      error = co_await net::write_rest(stream, gather);
    }
    CHECK(!error);
  }
  static boost::asio::awaitable<void> hear(net::Stream& stream, std::string& text,
                                           net::ErrorCode& error) {
    char block[5000];
    for (;;) {
      const net::IoResult read = co_await stream.read_some(block);
      error = read.error;
      if (error) {
        co_return;
      }
      text.append(block, read.bytes);
    }
  }

  boost::asio::io_context context;
  runtime::Gate gate{context};
  tls::Context server_context, client_context;
  std::optional<MemoryPeer> at_server, at_client; // the other end of each one's wire
  std::unique_ptr<tls::TlsStream> server, client;
  net::ErrorCode accepted, connected;
  bool accept_ended = false, connect_ended = false;
};

std::string long_text(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>(i * 7 + i / 256);
  }
  return text;
}

} // namespace

TEST_CASE("T: text passes both ways, in pieces of any size and with little room") {
  for (const std::size_t pieces : {1, 7, 1000, 1 << 20}) {
    for (const std::size_t room : {std::size_t{100}, std::size_t{20'000}, std::size_t{1} << 30}) {
      INFO(pieces << " bytes at once, " << room << " under way");
      Ends ends(pieces, room);
      ends.shake();
      REQUIRE(ends.accept_ended);
      REQUIRE(ends.connect_ended);
      CHECK(!ends.accepted);
      CHECK(!ends.connected);
      CHECK(ends.server->protocol() == "h2");
      CHECK(ends.client->protocol() == "h2");
      const std::string question = long_text(100), answer = long_text(50'000);
      std::string heard_by_server, heard_by_client;
      net::ErrorCode server_error, client_error;
      ends.gate.spawn(Ends::hear(*ends.server, heard_by_server, server_error));
      ends.gate.spawn(Ends::hear(*ends.client, heard_by_client, client_error));
      ends.gate.spawn(Ends::say(*ends.client, question));
      ends.gate.spawn(Ends::say(*ends.server, answer));
      ends.run();
      CHECK(heard_by_server == question);
      CHECK(heard_by_client == answer);
      ends.client->shutdown_write();
      ends.run();
      CHECK(server_error == boost::asio::error::eof);
    }
  }
}

TEST_CASE("T: an end without close_notify is no end of a message") {
  Ends ends;
  ends.shake();
  std::string text;
  net::ErrorCode error;
  ends.gate.spawn(Ends::hear(*ends.client, text, error));
  ends.run();
  ends.at_client->end(); // as a FIN of TCP
  ends.run();
  CHECK(error == tls::make_error(tls::StreamError::kTruncated));
}

TEST_CASE("T: bytes that were tampered with are an error") {
  Ends ends;
  ends.shake();
  ends.gate.spawn(Ends::say(*ends.server, "hello"));
  ends.poll();
  std::string bytes = ends.at_server->take();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  ends.at_client->write(bytes);
  std::string text;
  net::ErrorCode error;
  ends.gate.spawn(Ends::hear(*ends.client, text, error));
  ends.run();
  CHECK(text.empty());
  CHECK(error == tls::make_error(tls::StreamError::kProtocol));
}

TEST_CASE("T: a server that does not prove the name is refused in the handshake") {
  for (const char* name : {"other.example.test", "example.test", "192.0.2.1"}) {
    INFO(name);
    Ends ends;
    ends.shake(name);
    CHECK(ends.connected == tls::make_error(tls::StreamError::kCertificate));
    CHECK(ends.accept_ended);
  }
}

TEST_CASE("T16: a NUL in a certificate's name does not end the name") {
  using namespace std::string_view_literals;
  for (const std::string_view name :
       {"api.example.test\0.evil.test"sv, "api.example.test\0"sv, "\0api.example.test"sv}) {
    Ends ends(1 << 20, 1 << 20, name);
    ends.shake();
    CHECK(ends.connected == tls::make_error(tls::StreamError::kCertificate));
  }
}

TEST_CASE("T: without a protocol in common there is no connection") {
  Ends ends;
  ends.shake(kName, {"http/1.1"}, "h2");
  CHECK(ends.connected);
  CHECK(ends.accepted);
}

TEST_CASE("T: a record that is begun cannot be exchanged for other text") {
  Ends ends;
  ends.shake();
  ends.at_server->limit(10);
  const std::string first = long_text(1000), other(1000, 'x');
  const auto part = [](const std::string& text) {
    return iovec{const_cast<char*>(text.data()), text.size()};
  };
  iovec one = part(first);
  const net::IoResult begun = ends.server->try_write({&one, 1});
  CHECK(!begun.error);
  CHECK(begun.bytes == 0);
  ends.at_server->limit(1 << 20);
  SECTION("the same text goes on") {
    const net::IoResult rest = ends.server->try_write({&one, 1});
    CHECK(!rest.error);
    CHECK(rest.bytes == first.size());
  }
  SECTION("other text is an error") {
    one = part(other);
    CHECK(ends.server->try_write({&one, 1}).error);
  }
}

TEST_CASE("T: texts that are no certificates and keys make no context, and say why") {
  const Pem pem = make_certificate(), other = make_certificate();
  const auto fails = [](const tls::KeyPair& pair, std::string_view reason) {
    const auto made = tls::make_server_context(pair, {});
    REQUIRE_FALSE(made.has_value());
    INFO(made.error().text());
    CHECK(made.error().text().find(reason) != std::string::npos);
  };
  fails({"", pem.key}, "no certificate found");
  fails({"nonsense", pem.key}, "no certificate found");
  fails({pem.certificate.substr(0, 100) + "\n-----END CERTIFICATE-----\n", pem.key},
        "certificates");
  fails({pem.certificate, ""}, "private key cannot be read");
  fails({pem.certificate, other.key}, "not the certificate's");
  CHECK_FALSE(tls::make_client_context("", {}).has_value());
  CHECK(tls::make_client_context(pem.certificate, {}).has_value());
}
