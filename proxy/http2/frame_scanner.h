// Walks over the frames of one direction, seeing their headers only, so that every frame can be
// counted before nghttp2 spends work on it: nghttp2 reports no frame that it ignores.
//
// Owned by a Connection. Allocates nothing; bytes may come cut anywhere.
#pragma once

#include "proxy/http2/frame.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::http2 {

class FrameScanner {
public:
  // preface: bytes before the first frame, not looked at.
  explicit FrameScanner(std::size_t preface) : x_skip(preface) {}

  // Takes bytes up to the next frame header's end, or all of them. `complete`: header() is a
  // frame that begins with the bytes taken (for padded DATA, once the padding's length is known).
  struct Step {
    std::size_t taken = 0;
    bool complete = false;
  };
  Step next(std::span<const std::uint8_t> bytes);

  [[nodiscard]] const FrameHeader& header() const { return x_header; }
  // Some bytes of a frame are still to come.
  [[nodiscard]] bool inside_frame() const { return x_skip > 0 || x_have > 0; }

private:
  std::size_t x_skip; // of the current frame's payload (or of the preface)
  std::size_t x_have = 0;
  bool x_awaits_pad_length = false;
  std::array<std::uint8_t, kFrameHeaderSize> x_raw{};
  FrameHeader x_header;
};

} // namespace weir::http2
