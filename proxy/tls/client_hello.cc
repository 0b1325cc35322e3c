#include "proxy/tls/client_hello.h"

#include "proxy/base/check.h"
#include "proxy/tls/server_name.h"

#include <algorithm>

namespace weir::tls {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t kChangeCipherSpec = 20;
constexpr std::uint8_t kAlert = 21;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kApplicationData = 23;

constexpr std::uint8_t kClientHelloMessage = 1;

constexpr std::uint16_t kServerNameExtension = 0;
constexpr std::uint16_t kAlpnExtension = 16;
constexpr std::uint16_t kEncryptedClientHelloExtension = 0xfe0d;

// Clients send about twenty. The bound keeps the search for duplicates short.
constexpr std::size_t kMaxExtensions = 128;
constexpr std::size_t kMaxAlpnProtocols = 64;

// Reads big-endian fields; once it runs short, it stays failed and gives zeros and empty blocks.
class Cursor {
public:
  explicit Cursor(Bytes bytes) : x_bytes(bytes) {}

  [[nodiscard]] bool ok() const { return x_ok; }
  [[nodiscard]] bool at_end() const { return x_bytes.empty(); }

  std::size_t number(std::size_t width) {
    std::size_t value = 0;
    for (const std::uint8_t byte : take(width)) {
      value = value << 8 | byte;
    }
    return value;
  }
  Bytes take(std::size_t size) {
    if (size > x_bytes.size()) {
      x_ok = false;
      x_bytes = {};
      return {};
    }
    const Bytes taken = x_bytes.first(size);
    x_bytes = x_bytes.subspan(size);
    return taken;
  }
  // A vector: its length in `width` bytes, then its bytes.
  Bytes block(std::size_t width) { return take(number(width)); }

private:
  Bytes x_bytes;
  bool x_ok = true;
};

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

ClientHelloReader::Status ClientHelloReader::feed(Bytes bytes) {
  WEIR_DCHECK(x_refusal.reason.empty() && !message_complete());
  x_raw.insert(x_raw.end(), bytes.begin(), bytes.end());
  while (x_offset < x_raw.size()) {
    if (x_payload_left == 0) {
      if (!read_record_header()) {
        return x_refusal.reason.empty() ? Status::kNeedMore : Status::kRefused;
      }
      continue;
    }
    const std::size_t size = std::min(x_payload_left, x_raw.size() - x_offset);
    if (x_in_handshake && !read_message_part(Bytes(x_raw).subspan(x_offset, size))) {
      return Status::kRefused;
    }
    x_offset += size;
    x_payload_left -= size;
    if (!message_complete()) {
      continue;
    }
    if (x_payload_left > 0) {
      // A client has nothing more to say before the server's answer: RFC 8446 §5.1.
      refuse("bytes-after-hello", Alert::kUnexpectedMessage);
      return Status::kRefused;
    }
    return parse_message() ? Status::kDone : Status::kRefused;
  }
  if (x_raw.size() > kMaxHeldHello) {
    refuse("hello-too-large", Alert::kRecordOverflow);
    return Status::kRefused;
  }
  return Status::kNeedMore;
}

// False when the header is not whole yet or is refused. Looks at each byte as soon as it is there:
// who speaks another protocol may wait for an answer after a few bytes.
bool ClientHelloReader::read_record_header() {
  const Bytes header = Bytes(x_raw).subspan(x_offset);
  const std::uint8_t type = header[0];
  const bool started = x_seen > 0;
  if (type != kHandshake) {
    const bool before_second = x_which == Which::kSecond && !started &&
                               (type == kChangeCipherSpec || type == kApplicationData);
    if (type == kAlert) {
      return refuse("alert-before-hello", Alert::kUnexpectedMessage);
    }
    if (!before_second) {
      const bool tls = type == kChangeCipherSpec || type == kApplicationData || x_offset > 0;
      if (tls) {
        return refuse("record-type", Alert::kUnexpectedMessage);
      }
      // SSLv2's two-byte length has its highest bit set.
      return refuse((type & 0x80) != 0 ? "sslv2-hello" : "not-tls", std::nullopt);
    }
  }
  if (header.size() >= 2 && header[1] != 3) {
    return refuse("record-version", Alert::kProtocolVersion);
  }
  if (header.size() >= 3 && header[2] > 3) {
    return refuse("record-version", Alert::kProtocolVersion);
  }
  if (header.size() < kRecordHeader) {
    return false;
  }
  const std::size_t length = static_cast<std::size_t>(header[3]) << 8 | header[4];
  // Early data is encrypted and may be longer by the cipher's overhead (RFC 8446 §5.2).
  const std::size_t limit = type == kApplicationData ? kMaxRecordPayload + 256 : kMaxRecordPayload;
  if (length > limit) {
    return refuse("record-length", Alert::kRecordOverflow);
  }
  if (length == 0) {
    return refuse("empty-record", Alert::kUnexpectedMessage);
  }
  if (++x_records > kMaxHelloRecords) {
    return refuse("too-many-records", Alert::kUnexpectedMessage);
  }
  x_in_handshake = type == kHandshake;
  x_payload_left = length;
  x_offset += kRecordHeader;
  return true;
}

bool ClientHelloReader::read_message_part(Bytes part) {
  for (std::size_t i = 0; i < part.size() && x_header_size < x_header.size(); ++i) {
    x_header[x_header_size++] = part[i];
  }
  x_seen += part.size();
  if (x_header[0] != kClientHelloMessage) {
    return refuse("handshake-type", Alert::kUnexpectedMessage);
  }
  if (x_header_size < x_header.size()) {
    return true;
  }
  x_message_size = x_header.size() + (static_cast<std::size_t>(x_header[1]) << 16 |
                                      static_cast<std::size_t>(x_header[2]) << 8 | x_header[3]);
  if (x_message_size > kMaxClientHello) {
    return refuse("hello-too-large", Alert::kIllegalParameter);
  }
  if (x_seen > x_message_size) {
    return refuse("bytes-after-hello", Alert::kUnexpectedMessage);
  }
  return true;
}

bool ClientHelloReader::parse_message() {
  // One record is read where it lies; several are joined.
  std::vector<std::uint8_t> joined;
  Bytes message;
  if (x_records == 1) {
    message = Bytes(x_raw).subspan(kRecordHeader, x_message_size);
  } else {
    joined.reserve(x_message_size);
    Cursor records(Bytes(x_raw).first(x_offset));
    while (!records.at_end()) {
      const std::size_t type = records.number(1);
      records.take(2);
      const Bytes payload = records.block(2);
      if (type == kHandshake) {
        joined.insert(joined.end(), payload.begin(), payload.end());
      }
    }
    message = joined;
  }

  Cursor body(message.subspan(x_header.size()));
  const std::size_t version = body.number(2);
  body.take(32); // random
  const Bytes session_id = body.block(1);
  const Bytes cipher_suites = body.block(2);
  const Bytes compression = body.block(1);
  if (!body.ok() || session_id.size() > 32 || cipher_suites.empty() ||
      cipher_suites.size() % 2 != 0 || compression.empty()) {
    return refuse("hello-malformed", Alert::kDecodeError);
  }
  if (version >> 8 != 3 || version == 0x0300) {
    return refuse("hello-version", Alert::kProtocolVersion);
  }
  if (body.at_end()) {
    return true; // before TLS 1.3 a hello may have no extensions
  }
  const Bytes extensions = body.block(2);
  if (!body.ok() || !body.at_end()) {
    return refuse("hello-malformed", Alert::kDecodeError);
  }
  return parse_extensions(extensions);
}

bool ClientHelloReader::parse_extensions(Bytes block) {
  std::array<std::uint16_t, kMaxExtensions> types{};
  std::size_t count = 0;
  Cursor extensions(block);
  while (!extensions.at_end()) {
    const auto type = static_cast<std::uint16_t>(extensions.number(2));
    const Bytes body = extensions.block(2);
    if (!extensions.ok()) {
      return refuse("hello-malformed", Alert::kDecodeError);
    }
    if (count == types.size()) {
      return refuse("too-many-extensions", Alert::kIllegalParameter);
    }
    // RFC 8446 §4.2. A reader that takes the first and one that takes the last would differ.
    if (std::find(types.begin(), types.begin() + count, type) != types.begin() + count) {
      return refuse(type == kServerNameExtension ? "sni-two-names" : "duplicate-extension",
                    Alert::kIllegalParameter);
    }
    types[count++] = type;
    if (type == kServerNameExtension && !parse_server_name(body)) {
      return false;
    }
    if (type == kAlpnExtension && !parse_alpn(body)) {
      return false;
    }
    if (type == kEncryptedClientHelloExtension) {
      x_hello.encrypted_client_hello = true;
    }
  }
  return true;
}

bool ClientHelloReader::parse_server_name(Bytes body) {
  Cursor extension(body);
  Cursor list(extension.block(2));
  if (!extension.ok() || !extension.at_end() || list.at_end()) {
    return refuse("sni-malformed", Alert::kDecodeError);
  }
  const std::size_t name_type = list.number(1);
  if (name_type != 0) {
    // Only host_name was ever defined; who skips an unknown type and who does not would differ.
    return refuse("sni-name-type", Alert::kIllegalParameter);
  }
  const std::string_view name = as_text(list.block(2));
  if (!list.ok()) {
    return refuse("sni-malformed", Alert::kDecodeError);
  }
  if (!list.at_end()) {
    return refuse("sni-two-names", Alert::kIllegalParameter);
  }
  if (const std::string_view fault = server_name_fault(name); !fault.empty()) {
    return refuse(fault, Alert::kUnrecognizedName);
  }
  x_hello.server_name = canonical_server_name(name);
  return true;
}

bool ClientHelloReader::parse_alpn(Bytes body) {
  Cursor extension(body);
  Cursor list(extension.block(2));
  if (!extension.ok() || !extension.at_end() || list.at_end()) {
    return refuse("alpn-malformed", Alert::kDecodeError);
  }
  while (!list.at_end()) {
    const Bytes protocol = list.block(1);
    if (protocol.empty() || x_hello.alpn.size() == kMaxAlpnProtocols) {
      return refuse("alpn-malformed", Alert::kDecodeError);
    }
    x_hello.alpn.emplace_back(as_text(protocol));
  }
  return true;
}

bool ClientHelloReader::refuse(std::string_view reason, std::optional<Alert> alert) {
  x_refusal = {reason, alert};
  return false;
}

} // namespace weir::tls
