// A connection inside TLS as a net::Stream: sessions read and write plain text and need not know.
// OpenSSL does the cryptography and never waits: it is given the bytes that were read, and its own
// go straight to the stream below.
//
//   session ◄── read_some ◄── SSL_read ◄── x_in ◄── read_some of the stream below
//   session ──► try_write ──► SSL_write ─────────► try_write of the stream below
//
// Where the stream below is full in the middle of a record, none of that record's text counts as
// written: the caller writes the same bytes again, as it does with every stream, and OpenSSL goes
// on with the record that it has. Other bytes then are an error: the record cannot be taken back.
//
// The end of the connection without close_notify is an error, never an eof (RFC 8446 §6.1): an
// answer that ends with the connection could have been cut.
//
// For the rest as net::Stream.
#pragma once

#include "proxy/net/stream.h"

#include <openssl/types.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::tls {

// Errors of a TLS connection, beside those of the stream below.
enum class StreamError {
  kHandshake = 1,     // the peers do not agree
  kCertificate = 2,   // the peer's certificate does not prove what it has to
  kTruncated = 3,     // ended without close_notify
  kProtocol = 4,      // what came is no TLS, or was tampered with
  kNoApplication = 5, // ALPN: the peer does not speak what has to be spoken
  kSecret = 6,        // what weir needs for the connection is missing or broken
};
[[nodiscard]] net::ErrorCode make_error(StreamError error);

class TlsStream final : public net::Stream {
public:
  // `received`: what was read of the peer's bytes already. The context outlives the stream.
  TlsStream(SSL_CTX* context, std::unique_ptr<net::Stream> below,
            std::span<const std::uint8_t> received);
  ~TlsStream() override;

  // As the server. `protocol`: what ALPN is to choose where the client offers it.
  boost::asio::awaitable<net::ErrorCode> accept(std::string_view protocol);
  // As the client: the server must prove to be `name`, a DNS name or an IP address, and is offered
  // these protocols.
  boost::asio::awaitable<net::ErrorCode> connect(std::string name,
                                                 std::vector<std::string> protocols);
  // What ALPN has chosen; empty: nothing.
  [[nodiscard]] std::string_view protocol() const;

  boost::asio::awaitable<net::IoResult> read_some(std::span<char> into) override;
  net::IoResult try_write(std::span<const iovec> parts) override;
  boost::asio::awaitable<net::ErrorCode> wait_writable() override;
  void cancel() override;
  void shutdown_write() override;
  void close() override;
  void abort() override;
  bool stale() override;

private:
  struct Io; // OpenSSL's way to the stream below
  struct Delete {
    void operator()(SSL* ssl) const;
  };

  boost::asio::awaitable<net::ErrorCode> handshake();
  boost::asio::awaitable<net::ErrorCode> read_below();
  [[nodiscard]] net::ErrorCode failure(StreamError otherwise);
  void say_goodbye();
  std::span<const char> next_record(std::span<const iovec> parts, std::size_t skip);

  std::unique_ptr<net::Stream> x_below;
  std::unique_ptr<SSL, Delete> x_ssl;
  std::vector<char> x_in; // read from below, [x_begin, x_end) not yet taken by OpenSSL
  std::size_t x_begin = 0, x_end = 0;
  std::vector<char> x_begun;    // text of a record that is begun and not all out
  net::ErrorCode x_below_error; // of a write
  bool x_broken = false;        // nothing more may be said, not even goodbye
  bool x_write_ended = false;
  std::string x_protocol; // that the server's side chooses
};

} // namespace weir::tls
