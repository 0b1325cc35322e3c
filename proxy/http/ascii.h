// Byte classes of HTTP (RFC 9110 §5.6, RFC 3986 §2), by table: no locale, no branches per class.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weir::http {

enum : std::uint8_t {
  kTokenByte = 1,      // tchar
  kValueByte = 2,      // may stand in a field value: VCHAR, obs-text, SP, HTAB
  kTargetByte = 4,     // may stand in a request target
  kUnreservedByte = 8, // RFC 3986 §2.3
  kHostByte = 16,      // in a registered name, as weir accepts it
  kDigitByte = 32,
};

namespace detail {
constexpr std::array<std::uint8_t, 256> make_byte_classes() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const bool digit = c >= '0' && c <= '9';
    const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const auto one_of = [c](std::string_view set) {
      return c < 0x80 && c != 0 && set.find(static_cast<char>(c)) != std::string_view::npos;
    };
    std::uint8_t classes = 0;
    if (digit || alpha || one_of("!#$%&'*+-.^_`|~")) {
      classes |= kTokenByte;
    }
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
      classes |= kValueByte;
    }
    if (c > 0x20 && c < 0x7f && c != '#' && c != '\\') {
      classes |= kTargetByte;
    }
    if (digit || alpha || one_of("-._~")) {
      classes |= kUnreservedByte;
    }
    if (digit || alpha || one_of("-._")) {
      classes |= kHostByte;
    }
    if (digit) {
      classes |= kDigitByte;
    }
    table[c] = classes;
  }
  return table;
}
inline constexpr std::array<std::uint8_t, 256> kByteClasses = make_byte_classes();
} // namespace detail

constexpr bool is(std::uint8_t classes, char byte) {
  return (detail::kByteClasses[static_cast<unsigned char>(byte)] & classes) != 0;
}

// One class. Every byte is looked at: nearly always all are of it, and a branch for each costs
// more.
constexpr bool all(std::uint8_t byte_class, std::string_view text) {
  std::uint8_t common = byte_class;
  for (const char byte : text) {
    common &= detail::kByteClasses[static_cast<unsigned char>(byte)];
  }
  return common != 0;
}

// all(kValueByte, text), for text that is often long: eight bytes at a time.
inline bool is_value(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHighBits = 0x80 * kOnes;
  while (text.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof word);
    const std::uint64_t deleted = word ^ (0x7f * kOnes); // 0 where a byte is DEL
    // High bits tell of bytes below space and of zeros (and, behind one of these, of others).
    const std::uint64_t suspect =
        (((word - 0x20 * kOnes) & ~word) | ((deleted - kOnes) & ~deleted)) & kHighBits;
    if (suspect != 0 && !all(kValueByte, text.substr(0, sizeof word))) { // a tab is none
      return false;
    }
    text.remove_prefix(sizeof word);
  }
  return all(kValueByte, text);
}

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// lower_text: already in lower case.
constexpr bool equals_lower(std::string_view text, std::string_view lower_text) {
  if (text.size() != lower_text.size()) {
    return false;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != lower_text[i]) {
      return false;
    }
  }
  return true;
}

// -1: no hexadecimal digit.
constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

constexpr std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

// Elements of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty ones are skipped.
template <typename Each>
constexpr void for_each_element(std::string_view list, Each&& each) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty()) {
      each(element);
    }
    if (comma == std::string_view::npos) {
      return;
    }
    list.remove_prefix(comma + 1);
  }
}

} // namespace weir::http
