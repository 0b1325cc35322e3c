#include "proxy/base/dns_name.h"

#include <algorithm>
#include <cstdio>

namespace weir {
namespace {

constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxName = 254; // RFC 1035 §2.3.4: 255 with the root's byte

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

} // namespace

bool DnsName::append_label(std::string_view label) {
  if (label.empty() || label.size() > kMaxLabel || x_wire.size() + 1 + label.size() > kMaxName) {
    return false;
  }
  x_wire.push_back(static_cast<char>(label.size()));
  x_wire.append(label);
  std::transform(x_wire.end() - static_cast<std::ptrdiff_t>(label.size()), x_wire.end(),
                 x_wire.end() - static_cast<std::ptrdiff_t>(label.size()), lower);
  return true;
}

std::optional<DnsName> DnsName::from_text(std::string_view text) {
  DnsName name;
  if (text.empty() || text == ".") {
    return name;
  }
  std::string label;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      if (!name.append_label(label)) {
        return std::nullopt;
      }
      label.clear();
      continue;
    }
    if (text[i] != '\\') {
      label.push_back(text[i]);
      continue;
    }
    if (i + 3 < text.size() && is_digit(text[i + 1]) && is_digit(text[i + 2]) &&
        is_digit(text[i + 3])) {
      const int value = (text[i + 1] - '0') * 100 + (text[i + 2] - '0') * 10 + (text[i + 3] - '0');
      if (value > 255) {
        return std::nullopt;
      }
      label.push_back(static_cast<char>(value));
      i += 3;
    } else if (i + 1 < text.size() && !is_digit(text[i + 1])) {
      label.push_back(text[++i]);
    } else {
      return std::nullopt;
    }
  }
  if (!label.empty() && !name.append_label(label)) {
    return std::nullopt;
  }
  return name;
}

std::optional<DnsName> DnsName::from_labels(const std::vector<std::string>& labels) {
  DnsName name;
  std::size_t size = 0;
  for (const auto& label : labels) {
    size += 1 + label.size();
  }
  name.x_wire.reserve(std::min(size, kMaxName));
  for (const auto& label : labels) {
    if (!name.append_label(label)) {
      return std::nullopt;
    }
  }
  return name;
}

std::vector<std::string_view> DnsName::labels() const {
  std::vector<std::string_view> labels;
  const std::string_view wire = x_wire;
  for (std::size_t at = 0; at < wire.size();) {
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(wire[at]));
    labels.push_back(wire.substr(at + 1, length));
    at += 1 + length;
  }
  return labels;
}

std::string DnsName::to_text() const {
  if (is_root()) {
    return ".";
  }
  std::string text;
  text.reserve(x_wire.size());
  const auto plain = [](char c) { return c > 0x20 && c < 0x7f && c != '.' && c != '\\'; };
  std::string_view label;
  for (std::size_t at = 0; at < x_wire.size(); at += 1 + label.size()) {
    label = std::string_view(x_wire).substr(at + 1, static_cast<unsigned char>(x_wire[at]));
    if (std::all_of(label.begin(), label.end(), plain)) {
      text.append(label).push_back('.');
      continue;
    }
    for (const char c : label) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '.' || c == '\\') {
        text.push_back('\\');
        text.push_back(c);
      } else if (byte <= 0x20 || byte >= 0x7f) {
        char escaped[5];
        std::snprintf(escaped, sizeof escaped, "\\%03u", byte);
        text += escaped;
      } else {
        text.push_back(c);
      }
    }
    text.push_back('.');
  }
  return text;
}

} // namespace weir
