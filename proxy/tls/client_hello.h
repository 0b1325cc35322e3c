// Reads the ClientHello at the beginning of a TLS connection, from bytes in any segmentation:
// TLS records → handshake message → server name, ALPN, ECH. RFC 8446 §4.1.2, §5.1; RFC 6066 §3;
// RFC 7301. Does no I/O and no cryptography; keeps what it was fed, so that it can be passed on.
//
// Strict, because the server behind will read the same bytes: whatever two readers might read
// differently is refused. Memory is bounded by kMaxHeldHello and one feed(). One connection's, on
// its thread; any input is met without assertion.
//
//   record 22 │ 03 01 │ length │ part of the message ┐
//   record 22 │ 03 01 │ length │ … the rest          ┘→ 01 │ length (24) │ ClientHello
#pragma once

#include "proxy/tls/alert.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::tls {

// Post-quantum key shares and resumption tickets make a few KiB; OpenSSL takes 128 KiB.
inline constexpr std::size_t kMaxClientHello = 64 * 1024; // of the message, its header included
inline constexpr std::size_t kMaxHelloRecords = 4096;     // it may be cut into
inline constexpr std::size_t kRecordHeader = 5;
inline constexpr std::size_t kMaxHeldHello = kMaxClientHello + kMaxHelloRecords * kRecordHeader;
inline constexpr std::size_t kMaxRecordPayload = 16 * 1024;

struct ClientHello {
  // Lower case, without trailing dot (server_name.h); nullopt when the client names no server.
  // With ECH this is the outer name: it is all that anybody but the server can see.
  std::optional<std::string> server_name;
  std::vector<std::string> alpn; // in the client's order; empty when it offers none
  // Carries the encrypted_client_hello extension, real or as GREASE (which nobody can tell apart).
  bool encrypted_client_hello = false;
};

struct Refusal {
  std::string_view reason;    // static text for logs: "not-tls", "sni-two-names", …
  std::optional<Alert> alert; // what to answer; nullopt: the peer does not speak TLS
};

class ClientHelloReader {
public:
  // The second hello answers a HelloRetryRequest: change_cipher_spec and early data that was
  // already on its way may come before it (RFC 8446 §4.1.2, appendix D.4).
  enum class Which : std::uint8_t { kFirst, kSecond };
  enum class Status : std::uint8_t { kNeedMore, kRefused, kDone };

  explicit ClientHelloReader(Which which = Which::kFirst) : x_which(which) {}

  // Not to be called again after kRefused or kDone. Refuses as early as the bytes allow.
  Status feed(std::span<const std::uint8_t> bytes);

  // Everything fed so far, in order; may go on after the hello (early data).
  [[nodiscard]] std::span<const std::uint8_t> raw() const { return x_raw; }
  // How much of raw() is the hello's records and what came before them; after kDone.
  [[nodiscard]] std::size_t hello_end() const { return x_offset; }
  [[nodiscard]] const ClientHello& hello() const { return x_hello; } // after kDone
  [[nodiscard]] const Refusal& refusal() const { return x_refusal; } // after kRefused

private:
  bool read_record_header();
  bool read_message_part(std::span<const std::uint8_t> part);
  bool message_complete() const { return x_header_size == 4 && x_seen == x_message_size; }
  bool parse_message();
  bool parse_extensions(std::span<const std::uint8_t> block);
  bool parse_server_name(std::span<const std::uint8_t> body);
  bool parse_alpn(std::span<const std::uint8_t> body);
  bool refuse(std::string_view reason, std::optional<Alert> alert);

  const Which x_which;
  std::vector<std::uint8_t> x_raw;
  std::size_t x_offset = 0;       // in x_raw: what has been looked at
  std::size_t x_payload_left = 0; // of the record that x_offset is in
  bool x_in_handshake = false;    // that record is part of the message
  std::size_t x_records = 0;
  std::array<std::uint8_t, 4> x_header{}; // the message's first four bytes
  std::size_t x_header_size = 0;
  std::size_t x_seen = 0, x_message_size = 0; // with header
  ClientHello x_hello;
  Refusal x_refusal;
};

} // namespace weir::tls
