// Frames of HTTP/2 as numbers (RFC 9113 §4.1, §6, §7), for the code that counts and builds them.
// What a frame means is nghttp2's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::http2 {

using StreamId = std::int32_t;

// What a client says first (RFC 9113 §3.4).
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline constexpr std::size_t kFrameHeaderSize = 9;
inline constexpr std::size_t kMaxFrameSize = 16384; // weir leaves SETTINGS_MAX_FRAME_SIZE as it is

enum class FrameType : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
  kPriorityUpdate = 16, // RFC 9218 §7.1
};

inline constexpr std::uint8_t kFlagEndStream = 0x1;
inline constexpr std::uint8_t kFlagAck = 0x1;
inline constexpr std::uint8_t kFlagEndHeaders = 0x4;
inline constexpr std::uint8_t kFlagPadded = 0x8;
inline constexpr std::uint8_t kFlagPriority = 0x20;

enum class ErrorCode : std::uint32_t {
  kNoError = 0x0,
  kProtocolError = 0x1,
  kInternalError = 0x2,
  kFlowControlError = 0x3,
  kSettingsTimeout = 0x4,
  kStreamClosed = 0x5,
  kFrameSizeError = 0x6,
  kRefusedStream = 0x7,
  kCancel = 0x8,
  kCompressionError = 0x9,
  kConnectError = 0xa,
  kEnhanceYourCalm = 0xb,
  kInadequateSecurity = 0xc,
  kHttp11Required = 0xd,
};

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type = FrameType::kData; // may be a number that has no name
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  // DATA: bytes without padding.
  std::uint32_t data_length = 0;

  [[nodiscard]] bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

} // namespace weir::http2
