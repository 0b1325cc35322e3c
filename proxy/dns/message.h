// DNS messages off the wire (RFC 1035 §4), read strictly and only as far as judging and learning
// need: header, question, answer section. Names become DnsName label by label, never by way of
// text. Pure functions over bytes that the caller owns; any thread; a malformed message is an
// absent value, never an exception.
//
// Compression (§4.1.4) is followed backwards only, each pointer to before the previous one, so a
// loop cannot be written; a question is read without it, as nothing stands before it to point to.
#pragma once

#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace weir::dns {

using Bytes = std::vector<std::uint8_t>;
using BytesView = std::span<const std::uint8_t>;

inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kMaxMessage = 65535;

// RFC 1035 §4.1.1
enum class Rcode : std::uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
};

enum class RecordType : std::uint16_t {
  kA = 1,
  kCname = 5,
  kAaaa = 28,
  kDname = 39,
  kSig = 24,
  kOpt = 41,
  kTsig = 250,
  kIxfr = 251,
  kAxfr = 252,
  kMailb = 253,
  kMaila = 254,
  kAny = 255,
};

// "A", "AAAA", …; "TYPE1234" (RFC 3597 §5) for those without a well-known mnemonic here.
[[nodiscard]] std::string type_text(std::uint16_t type);

struct Question {
  DnsName name;
  std::uint16_t type = 0;
  std::size_t end = 0; // it fills the message's bytes from kHeaderSize to here
};

struct Query {
  std::uint16_t id = 0;
  Question question;
};

// Neither: the bytes are no query (too short for a header, or themselves an answer). Such a
// datagram is never answered, or two servers could keep each other busy for ever.
struct ParsedQuery {
  std::optional<Query> query;
  std::optional<Rcode> refusal; // a query that is not for us to pass on
};

// Passes one question of class IN for ordinary types; whatever else stands in the message must be
// well-formed to its last byte. Malformed, and more than one question (RFC 9619): FORMERR; another
// opcode: NOTIMP; no question, other classes, zone transfers and the ANY-like types: REFUSED.
[[nodiscard]] ParsedQuery parse_query(BytesView message);

struct Record {
  DnsName owner;
  RecordType type = RecordType::kA; // kA, kAaaa, kCname or kDname
  std::uint32_t ttl = 0;            // seconds; RFC 2181 §8: a set top bit means 0
  // Address for kA and kAaaa, as on the wire: an AAAA of ::ffff:a.b.c.d reads is_v4() here.
  std::variant<IpAddress, DnsName> data;
};

struct Response {
  Rcode rcode = Rcode::kNoError;
  Question question;
  std::vector<Record> answers; // class IN, the four types above; others are walked over
};

// Answer section whole and well-formed. Authority and additional are not looked at.
[[nodiscard]] std::optional<Response> parse_response(BytesView message);

// Is this the answer to that query, sent upstream with `id`? Same id, opcode and question; the
// name's letter case may differ.
[[nodiscard]] bool answers(BytesView response, BytesView query, const Question& question,
                           std::uint16_t id);

// Of a message with a whole header.
[[nodiscard]] std::uint16_t message_id(BytesView message);
void set_message_id(std::span<std::uint8_t> message, std::uint16_t id);
[[nodiscard]] Rcode message_rcode(BytesView message);
[[nodiscard]] bool message_truncated(BytesView message);

// What crosses every network in one piece: IPv6's least MTU, 1280 (RFC 8200 §5), less the headers.
inline constexpr std::uint16_t kUnfragmented = 1232;
// Lowers the size of answer that a well-formed query says it takes over UDP (RFC 6891 §6.2.3). One
// that is signed (TSIG, SIG(0)) stays as it is.
void limit_udp_payload(std::span<std::uint8_t> query, const Question& question, std::uint16_t most);

// An answer without records to `query`, which has a whole header: its id, opcode and RD, its
// question if that can be read, and a bare OPT if it had one.
[[nodiscard]] Bytes make_refusal(BytesView query, Rcode rcode);

// For a stream: its length before it, in one piece as RFC 7766 §8 wants it sent.
[[nodiscard]] Bytes framed(BytesView message);

} // namespace weir::dns
