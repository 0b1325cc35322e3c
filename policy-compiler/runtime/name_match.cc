#include "policy-compiler/runtime/name_match.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kMaxLabels = 128;
constexpr std::size_t kMaxNameBytes = 253;

constexpr auto kDnsCharacters = [] {
  std::array<bool, 256> known{};
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyz0123456789-_")) {
    known[static_cast<unsigned char>(c)] = true;
  }
  return known;
}();

bool dns_character(char c) { return kDnsCharacters[static_cast<unsigned char>(c)]; }

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::string lower_without_dot(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  if (!out.empty() && out.back() == '.') {
    out.pop_back();
  }
  return out;
}

// Stars within one label. The classic two-pointer walk: linear but for the last star's retries.
bool label_matches(std::string_view pattern, std::string_view label) {
  std::size_t p = 0;
  std::size_t l = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (l < label.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = l;
    } else if (p < pattern.size() && pattern[p] == label[l]) {
      ++p;
      ++l;
    } else if (star != std::string_view::npos && dns_character(label[resume])) {
      p = star + 1;
      l = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

// Of a name in wire form (DnsName::wire()), which goes on behind its first label then.
std::string_view take_label(std::string_view& wire) {
  const std::size_t length = static_cast<unsigned char>(wire.front());
  const std::string_view label = wire.substr(1, length);
  wire.remove_prefix(1 + length);
  return label;
}

std::size_t label_count(std::string_view wire) {
  std::size_t count = 0;
  for (; !wire.empty(); ++count) {
    take_label(wire);
  }
  return count;
}

bool labels_match(const std::vector<std::string>& patterns, bool any_prefix,
                  std::string_view wire) {
  const std::size_t count = label_count(wire);
  if (any_prefix ? count <= patterns.size() : count != patterns.size()) {
    return false;
  }
  for (std::size_t skipped = count - patterns.size(); skipped > 0; --skipped) {
    const std::string_view label = take_label(wire);
    if (!std::all_of(label.begin(), label.end(), dns_character)) {
      return false;
    }
  }
  return std::all_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return label_matches(pattern, take_label(wire));
  });
}

} // namespace

std::optional<DnsName> server_name(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char c) { return c == '.' || dns_character(lower(c)); });
  if (text.empty() || text.back() == '.' || !plain) {
    return std::nullopt;
  }
  return DnsName::from_text(text);
}

std::optional<DnsName> host_name(std::string_view host) {
  return server_name(host.substr(0, host.find(':')));
}

NameMatcher NameMatcher::literal(std::string_view name) {
  NameMatcher out;
  if (auto parsed = DnsName::from_text(name)) {
    out.x_kind = Kind::kLiteral;
    out.x_name = std::move(*parsed);
  }
  return out;
}

NameMatcher NameMatcher::pattern(std::string_view text) {
  NameMatcher out;
  const std::string pattern = lower_without_dot(text);
  const auto stars = pattern.find_first_not_of('*');
  if (!pattern.empty() && stars == std::string::npos) {
    out.x_kind = Kind::kAll;
    return out;
  }
  if (pattern.find('*') == std::string::npos) {
    return literal(pattern);
  }
  out.x_kind = Kind::kPattern;
  std::string_view rest = pattern;
  if (stars >= 2 && pattern[stars] == '.') {
    out.x_any_prefix = true;
    rest.remove_prefix(stars + 1);
  }
  while (true) {
    const auto dot = rest.find('.');
    out.x_labels.emplace_back(rest.substr(0, dot));
    if (out.x_labels.back().empty() || out.x_labels.size() > kMaxLabels) {
      out.x_kind = Kind::kNever; // no name has an empty label
    }
    if (dot == std::string_view::npos) {
      return out;
    }
    rest.remove_prefix(dot + 1);
  }
}

bool NameMatcher::matches(const DnsName& name) const {
  switch (x_kind) {
  case Kind::kNever:
    return false;
  case Kind::kAll:
    return true;
  case Kind::kLiteral:
    return name == x_name;
  case Kind::kPattern:
    return labels_match(x_labels, x_any_prefix, name.wire());
  }
  return false;
}

bool NameMatcher::matches_server_name(std::string_view name) const {
  if (name.empty() || name.size() > kMaxNameBytes || x_kind == Kind::kNever) {
    return false;
  }
  std::array<char, 1 + kMaxNameBytes> wire; // as DnsName::wire()
  std::size_t size = 0;
  for (std::string_view rest = name;;) {
    const auto dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    wire[size++] = static_cast<char>(label.size());
    char* const at = wire.data() + size;
    char* const end = std::transform(label.begin(), label.end(), at, lower);
    if (label.empty() || !std::all_of(at, end, dns_character)) {
      return false;
    }
    size += label.size();
    if (dot == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(dot + 1);
  }
  const std::string_view asked(wire.data(), size);
  return x_kind == Kind::kAll ||
         (x_kind == Kind::kPattern ? labels_match(x_labels, x_any_prefix, asked)
                                   : asked == x_name.wire());
}

} // namespace weir::policy
