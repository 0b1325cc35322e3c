// Takes a message's body out of the bytes that carry it, without gathering it: each call turns
// what has arrived into payload, in place. Chunks are taken apart strictly (RFC 9112 §7.1);
// extensions and trailers are checked, bounded and left out: a trailer that a server merges into
// its header fields would be one that policy never judged (RFC 9110 §6.5.1 allows dropping them).
#pragma once

#include "proxy/http/message.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::http {

class BodyReader {
public:
  void start(const Framing& framing);

  // Reads from data; the payload found lies, contiguous, within data, which may be rearranged
  // there. Bytes behind `consumed` are untouched. On a malformed body: failed().
  struct Taken {
    std::size_t consumed = 0;
    std::string_view payload;
  };
  Taken take(char* data, std::size_t size);

  [[nodiscard]] bool done() const { return x_state == State::kDone; }
  [[nodiscard]] bool failed() const { return x_state == State::kFailed; }
  // The connection ended here: is the body whole?
  [[nodiscard]] bool whole_at_end() const { return done() || x_state == State::kUntilClose; }
  // Payload bytes so far.
  [[nodiscard]] std::uint64_t received() const { return x_received; }
  // kLength: payload bytes still to come.
  [[nodiscard]] std::uint64_t remaining() const {
    return x_state == State::kLength ? x_remaining : 0;
  }

private:
  enum class State : std::uint8_t {
    kLength,
    kUntilClose,
    kSize,      // digits of a chunk's size
    kExtension, // behind ";"
    kSizeLf,    // the CR was seen
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart, // first byte of a trailer line or of the empty line
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
    kDone,
    kFailed,
  };
  Taken take_chunked(char* data, std::size_t size);
  // One byte of what stands around the chunks' data.
  State next(char byte);

  State x_state = State::kDone;
  std::uint64_t x_remaining = 0;
  std::uint64_t x_received = 0;
  std::uint32_t x_digits = 0;
  std::uint32_t x_overhead = 0; // extension and trailer bytes of this body
};

} // namespace weir::http
