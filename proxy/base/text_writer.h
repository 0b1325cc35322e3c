// Writes text into room that was made for it beforehand, which costs less than a string that grows
// by each piece. What does not fit ends the process: a bound that was reckoned wrong must not
// become a write past the end.
#pragma once

#include "proxy/base/check.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace weir {

class TextWriter {
public:
  // The room outlives it.
  explicit TextWriter(std::span<char> room) : x_at(room.data()), x_end(room.data() + room.size()) {}

  void put(char c) {
    WEIR_CHECK(x_at != x_end);
    *x_at++ = c;
  }
  void put(std::string_view text) {
    WEIR_CHECK(text.size() <= static_cast<std::size_t>(x_end - x_at));
    x_at = std::copy(text.begin(), text.end(), x_at);
  }
  void number(std::uint64_t number) {
    const auto [end, error] = std::to_chars(x_at, x_end, number);
    WEIR_CHECK(error == std::errc{});
    x_at = end;
  }
  [[nodiscard]] char* at() const { return x_at; } // where the next byte goes

private:
  char* x_at;
  char* const x_end;
};

// Appends what `write` writes, for which `room` bytes suffice.
template <typename Write> // (TextWriter&)
void append_written(std::string& out, std::size_t room, Write&& write) {
  const std::size_t before = out.size();
  out.resize(before + room);
  TextWriter writer({out.data() + before, room});
  write(writer);
  out.resize(static_cast<std::size_t>(writer.at() - out.data()));
}

} // namespace weir
