#include "proxy/tls/server_name.h"

#include <algorithm>

namespace weir::tls {
namespace {

constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxLabel = 63;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_host_character(char c) {
  return is_digit(c) || is_upper(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

// inet_aton() takes one to four numbers, decimal, octal or hexadecimal: no top-level domain looks
// like one, so the last label decides.
bool is_number(std::string_view label) {
  if (label.starts_with("0x") || label.starts_with("0X")) {
    return std::all_of(label.begin() + 2, label.end(), is_hex);
  }
  return std::all_of(label.begin(), label.end(), is_digit);
}

} // namespace

std::string_view server_name_fault(std::string_view name) {
  if (name.empty()) {
    return "sni-empty";
  }
  if (name.size() > kMaxName) {
    return "sni-too-long";
  }
  if (name.find(':') != std::string_view::npos) {
    return "sni-ip-literal";
  }
  if (name.ends_with('.')) {
    name.remove_suffix(1);
  }
  std::string_view label;
  for (;;) {
    const std::size_t dot = name.find('.');
    label = name.substr(0, dot);
    if (!std::all_of(label.begin(), label.end(), is_host_character)) {
      return "sni-bad-character";
    }
    if (label.empty() || label.size() > kMaxLabel) {
      return "sni-bad-label";
    }
    if (dot == std::string_view::npos) {
      break;
    }
    name.remove_prefix(dot + 1);
  }
  return is_number(label) ? "sni-ip-literal" : "";
}

std::string canonical_server_name(std::string_view name) {
  if (name.ends_with('.')) {
    name.remove_suffix(1);
  }
  std::string canonical(name);
  std::transform(canonical.begin(), canonical.end(), canonical.begin(),
                 [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  return canonical;
}

} // namespace weir::tls
