// Body bytes on their way from one connection to the other, with what ends them. How many there
// can be is decided by the window that the sender was given: bytes are acknowledged to it only
// once they have left the queue.
#pragma once

#include "proxy/http2/fields.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace weir::http2 {

class BodyQueue {
public:
  void append(std::span<const std::uint8_t> bytes) {
    if (x_begin == x_bytes.size()) {
      x_bytes.clear();
      x_begin = 0;
    } else if (x_begin > x_bytes.size() / 2 && x_bytes.size() + bytes.size() > x_bytes.capacity()) {
      x_bytes.erase(x_bytes.begin(), x_bytes.begin() + static_cast<std::ptrdiff_t>(x_begin));
      x_begin = 0;
    }
    x_bytes.insert(x_bytes.end(), bytes.begin(), bytes.end());
  }

  [[nodiscard]] std::size_t size() const { return x_bytes.size() - x_begin; }
  [[nodiscard]] std::span<const std::uint8_t> front(std::size_t count) const {
    return {x_bytes.data() + x_begin, count};
  }
  void pop(std::size_t count) { x_begin += count; }

  // Nothing follows, but for the trailers if there are any.
  void end() { x_ended = true; }
  void end_with(FieldList& trailers) {
    std::swap(x_trailers, trailers);
    x_ended = true;
  }
  [[nodiscard]] bool ended() const { return x_ended; }
  [[nodiscard]] const FieldList& trailers() const { return x_trailers; }

  // Forgets everything; large storage is given back, small storage kept for the next stream.
  void reset() {
    if (x_bytes.capacity() > kKept) {
      std::vector<std::uint8_t>().swap(x_bytes);
    }
    x_bytes.clear();
    x_begin = 0;
    x_ended = false;
    x_trailers.clear();
  }

private:
  static constexpr std::size_t kKept = 16 * 1024;

  std::vector<std::uint8_t> x_bytes;
  std::size_t x_begin = 0;
  bool x_ended = false;
  FieldList x_trailers;
};

} // namespace weir::http2
