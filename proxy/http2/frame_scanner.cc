#include "proxy/http2/frame_scanner.h"

#include <algorithm>

namespace weir::http2 {

FrameScanner::Step FrameScanner::next(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (x_awaits_pad_length) {
      x_awaits_pad_length = false;
      const std::uint32_t padding = 1u + bytes[at++];
      --x_skip;
      // More padding than frame is a protocol error, which nghttp2 answers.
      x_header.data_length = x_header.length > padding ? x_header.length - padding : 0;
      return {at, true};
    }
    if (x_skip > 0) {
      const std::size_t skipped = std::min(x_skip, bytes.size() - at);
      x_skip -= skipped;
      at += skipped;
      continue;
    }
    x_raw[x_have++] = bytes[at++];
    if (x_have < kFrameHeaderSize) {
      continue;
    }
    x_have = 0;
    x_header.length = std::uint32_t{x_raw[0]} << 16 | std::uint32_t{x_raw[1]} << 8 | x_raw[2];
    x_header.type = static_cast<FrameType>(x_raw[3]);
    x_header.flags = x_raw[4];
    x_header.stream = (std::uint32_t{x_raw[5]} << 24 | std::uint32_t{x_raw[6]} << 16 |
                       std::uint32_t{x_raw[7]} << 8 | x_raw[8]) &
                      0x7fffffffu;
    x_header.data_length = x_header.length;
    x_skip = x_header.length;
    if (x_header.type == FrameType::kData && x_header.has(kFlagPadded) && x_header.length > 0) {
      x_awaits_pad_length = true;
      continue;
    }
    return {at, true};
  }
  return {at, false};
}

} // namespace weir::http2
