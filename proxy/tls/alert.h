// TLS alerts that weir sends in place of a server's answer, before any key is agreed: plain text.
// RFC 8446 §6, RFC 6066 §3.
#pragma once

#include <array>
#include <cstdint>

namespace weir::tls {

enum class Alert : std::uint8_t {
  kUnexpectedMessage = 10,
  kRecordOverflow = 22,
  kIllegalParameter = 47,
  kAccessDenied = 49,
  kDecodeError = 50,
  kProtocolVersion = 70,
  kInternalError = 80,
  kUnrecognizedName = 112,
  kNoApplicationProtocol = 120,
};

// One record with the alert, fatal.
[[nodiscard]] std::array<std::uint8_t, 7> alert_record(Alert alert);

} // namespace weir::tls
