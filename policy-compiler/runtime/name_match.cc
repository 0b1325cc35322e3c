#include "policy-compiler/runtime/name_match.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kMaxLabels = 128;
constexpr std::size_t kMaxNameBytes = 253;

bool dns_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

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

// A name's labels in place, outermost first; false when it has too many.
struct LabelList {
  std::array<std::string_view, kMaxLabels> labels;
  std::size_t count = 0;

  bool add(std::string_view label) {
    if (count == labels.size()) {
      return false;
    }
    labels[count++] = label;
    return true;
  }
};

bool split_wire(const std::string& wire, LabelList& out) {
  for (std::size_t at = 0; at < wire.size();) {
    const auto length = static_cast<unsigned char>(wire[at]);
    if (!out.add(std::string_view(wire).substr(at + 1, length))) {
      return false;
    }
    at += 1 + length;
  }
  return true;
}

bool labels_match(const std::vector<std::string>& patterns, bool any_prefix,
                  const LabelList& name) {
  if (any_prefix ? name.count <= patterns.size() : name.count != patterns.size()) {
    return false;
  }
  const std::size_t skipped = name.count - patterns.size();
  for (std::size_t i = 0; i < skipped; ++i) {
    const std::string_view label = name.labels[i];
    if (label.empty() || !std::all_of(label.begin(), label.end(), dns_character)) {
      return false;
    }
  }
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    if (!label_matches(patterns[i], name.labels[skipped + i])) {
      return false;
    }
  }
  return true;
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
  case Kind::kPattern: {
    LabelList labels;
    return split_wire(name.wire(), labels) && labels_match(x_labels, x_any_prefix, labels);
  }
  }
  return false;
}

bool NameMatcher::matches_server_name(std::string_view name) const {
  if (name.empty() || name.size() > kMaxNameBytes || x_kind == Kind::kNever) {
    return false;
  }
  std::array<char, kMaxNameBytes> buffer{};
  std::transform(name.begin(), name.end(), buffer.begin(), lower);
  const std::string_view lowered(buffer.data(), name.size());
  LabelList labels;
  for (std::string_view rest = lowered;;) {
    const auto dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty() || !std::all_of(label.begin(), label.end(), dns_character) ||
        !labels.add(label)) {
      return false;
    }
    if (dot == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(dot + 1);
  }
  if (x_kind == Kind::kAll) {
    return true;
  }
  if (x_kind == Kind::kPattern) {
    return labels_match(x_labels, x_any_prefix, labels);
  }
  LabelList literal_labels;
  return split_wire(x_name.wire(), literal_labels) && literal_labels.count == labels.count &&
         std::equal(labels.labels.begin(), labels.labels.begin() + static_cast<long>(labels.count),
                    literal_labels.labels.begin());
}

} // namespace weir::policy
