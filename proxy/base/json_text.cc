#include "proxy/base/json_text.h"

#include <algorithm>
#include <array>

namespace weir {
namespace {

constexpr std::string_view kCut = "…";

// Length of the UTF-8 sequence at the text's start; 0 when it is none (RFC 3629: no surrogates, no
// over-long forms, nothing past U+10FFFF). `code` is the character.
std::size_t utf8_length(std::string_view text, char32_t& code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const std::size_t length = first < 0xc2   ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length == 0 || text.size() < length) {
    return 0;
  }
  code = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      return 0;
    }
    code = code << 6 | (byte(i) & 0x3fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : length;
}

// Characters that would let a peer's text act on whoever reads the log in a terminal or editor: C1
// controls, line separators, direction overrides.
bool is_deceptive(char32_t code) {
  return code < 0xa0 || code == 0x2028 || code == 0x2029 || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

constexpr std::size_t kEscape = 6; // bytes

void write_escape(char32_t code, TextWriter& out) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out.put("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) {
    out.put(kHex[code >> shift & 0xf]);
  }
}

// Characters that stand for themselves.
constexpr auto kPlain = [] {
  std::array<bool, 256> plain{};
  for (std::size_t c = 0x20; c < 0x7f; ++c) {
    plain[c] = c != '"' && c != '\\';
  }
  return plain;
}();

bool is_plain(char c) { return kPlain[static_cast<unsigned char>(c)]; }

} // namespace

void write_json_characters(std::string_view text, std::size_t most, TextWriter& out) {
  const bool cut = text.size() > most;
  if (cut) {
    std::size_t end = most;
    // Not inside a sequence; at most three continuation bytes can precede.
    for (int back = 0; back < 3 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80; ++back) {
      --end;
    }
    text = text.substr(0, end);
  }
  for (std::size_t at = 0; at < text.size();) {
    std::size_t run = at;
    while (run < text.size() && is_plain(text[run])) {
      ++run;
    }
    out.put(text.substr(at, run - at));
    at = run;
    if (at == text.size()) {
      break;
    }
    const char c = text[at];
    char32_t code = 0;
    if (c == '"' || c == '\\') {
      out.put('\\');
      out.put(c);
      ++at;
    } else if (const std::size_t length = utf8_length(text.substr(at), code); length > 0) {
      if (is_deceptive(code)) {
        write_escape(code, out);
      } else {
        out.put(text.substr(at, length));
      }
      at += length;
    } else {
      write_escape(static_cast<unsigned char>(c), out);
      ++at;
    }
  }
  if (cut) {
    out.put(kCut);
  }
}

void write_json_text(std::string_view text, std::size_t most, TextWriter& out) {
  out.put('"');
  write_json_characters(text, most, out);
  out.put('"');
}

void append_json_text(std::string_view text, std::size_t most, std::string& out) {
  append_written(out, json_text_room(text, most),
                 [&](TextWriter& writer) { write_json_text(text, most, writer); });
}

std::size_t json_text_room(std::string_view text, std::size_t most) {
  return std::min(text.size(), most) * kEscape + kCut.size() + 2;
}

} // namespace weir
