// Takes a message's body out of the bytes that carry it, without gathering it: each call turns
// what has arrived into payload, in place. Chunks are taken apart strictly (RFC 9112 §7.1);
// extensions are checked, bounded and left out. Trailers are checked, bounded and kept for whoever
// wants to pass them on: an answer's are, a request's are not, because a server that merges them
// into the header fields would see fields that policy never judged (RFC 9110 §6.5.1 allows both).
#pragma once

#include "proxy/http/message.h"

#include <cstddef>
#include <cstdint>
#include <string>
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
  // Chunked and done: the trailer lines that may be passed on, each with its CRLF.
  [[nodiscard]] std::string_view trailers() const { return x_trailers; }
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
  State trailer_byte(char byte, State state);

  State x_state = State::kDone;
  std::uint64_t x_remaining = 0;
  std::uint64_t x_received = 0;
  std::uint32_t x_digits = 0;
  std::uint32_t x_overhead = 0; // extension and trailer bytes of this body
  std::string x_trailers;
  std::size_t x_trailer_at = 0; // where the present line begins
};

} // namespace weir::http
