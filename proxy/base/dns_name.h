// A domain name as its labels, never as text: a label may contain a dot ("www\.good.com" is one
// label "www.good" and one "com"), and only label-wise comparison keeps such a name from passing
// for another. Holds the lower-cased, uncompressed wire form (RFC 1035 §3.1), at most 255 bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class DnsName {
public:
  DnsName() = default; // the root

  // "www.example.com", with or without the trailing dot; "" and "." are the root. RFC 1035 §5.1
  // escapes (\. and \DDD) are understood. Nothing on an empty or over-long label or name.
  static std::optional<DnsName> from_text(std::string_view text);
  // Labels as they came off the wire, outermost first, without the root.
  static std::optional<DnsName> from_labels(const std::vector<std::string>& labels);
  // wire() of a name in any letter case. Nothing when the labels are not what they may be.
  static std::optional<DnsName> from_wire(std::string_view wire);

  // Escaped, with a trailing dot: "www.example.com.", "."
  [[nodiscard]] std::string to_text() const;
  void append_text(std::string& out) const;
  // Length-prefixed labels without the root's zero byte.
  [[nodiscard]] const std::string& wire() const { return x_wire; }
  [[nodiscard]] bool is_root() const { return x_wire.empty(); }
  [[nodiscard]] std::vector<std::string_view> labels() const;

  auto operator<=>(const DnsName&) const = default;

private:
  bool append_label(std::string_view label);

  std::string x_wire;
};

} // namespace weir

template <>
struct std::hash<weir::DnsName> {
  // Not noexcept: so libstdc++ keeps the hash beside each name, instead of taking it anew of all
  // those that it passes in a bucket.
  std::size_t operator()(const weir::DnsName& name) const {
    return std::hash<std::string>{}(name.wire());
  }
};
