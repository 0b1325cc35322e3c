// Writes DNS messages byte by byte, good and bad ones, for the tests of this folder. Names are
// given as text with dots and written without compression unless a test writes its own bytes.
#pragma once

#include "proxy/dns/message.h"

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::test {

inline constexpr std::uint16_t kQueryFlags = 0x0100;    // RD
inline constexpr std::uint16_t kResponseFlags = 0x8180; // QR RD RA

inline DnsName name(std::string_view text) {
  auto parsed = DnsName::from_text(text);
  if (!parsed) {
    throw std::invalid_argument("no name: " + std::string(text));
  }
  return *parsed;
}

class Wire {
public:
  explicit Wire(std::uint16_t id, std::uint16_t flags) {
    u16(id).u16(flags).u16(0).u16(0).u16(0).u16(0);
  }

  static Wire query(std::uint16_t id, std::string_view asked, std::uint16_t type) {
    return Wire(id, kQueryFlags).question(asked, type);
  }
  static Wire response(std::uint16_t id, std::string_view asked, std::uint16_t type) {
    return Wire(id, kResponseFlags).question(asked, type);
  }

  Wire& question(std::string_view asked, std::uint16_t type, std::uint16_t question_class = 1) {
    count(4);
    return name_bytes(asked).u16(type).u16(question_class);
  }
  Wire& a(std::string_view owner, std::initializer_list<std::uint8_t> address,
          std::uint32_t ttl = 300) {
    return record(owner, 1, ttl, std::string(address.begin(), address.end()));
  }
  Wire& aaaa(std::string_view owner, std::string_view address, std::uint32_t ttl = 300) {
    const auto parsed = IpAddress::parse(address);
    return record(owner, 28, ttl, std::string(parsed->bytes().begin(), parsed->bytes().end()));
  }
  Wire& cname(std::string_view owner, std::string_view target, std::uint32_t ttl = 300) {
    return record(owner, 5, ttl, plain(target));
  }
  Wire& dname(std::string_view owner, std::string_view target, std::uint32_t ttl = 300) {
    return record(owner, 39, ttl, plain(target));
  }
  // section: offset of its count in the header.
  Wire& record(std::string_view owner, std::uint16_t type, std::uint32_t ttl,
               const std::string& data, std::size_t section = 6) {
    count(section);
    name_bytes(owner).u16(type).u16(1);
    u16(static_cast<std::uint16_t>(ttl >> 16)).u16(static_cast<std::uint16_t>(ttl & 0xffff));
    u16(static_cast<std::uint16_t>(data.size()));
    return raw(data);
  }
  Wire& opt(const std::string& options = {}) {
    count(10);
    x_bytes.push_back(0);
    u16(41).u16(4096).u16(0).u16(0).u16(static_cast<std::uint16_t>(options.size()));
    return raw(options);
  }

  Wire& u16(std::uint16_t value) {
    x_bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    x_bytes.push_back(static_cast<std::uint8_t>(value & 0xff));
    return *this;
  }
  Wire& raw(std::string_view bytes) {
    x_bytes.insert(x_bytes.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Wire& name_bytes(std::string_view text) { return raw(plain(text)); }
  Wire& count(std::size_t section) {
    ++x_bytes[section + 1];
    return *this;
  }
  Wire& set_u16(std::size_t at, std::uint16_t value) {
    x_bytes[at] = static_cast<std::uint8_t>(value >> 8);
    x_bytes[at + 1] = static_cast<std::uint8_t>(value & 0xff);
    return *this;
  }

  [[nodiscard]] const dns::Bytes& bytes() const { return x_bytes; }
  // Reads as the message itself.
  operator const dns::Bytes&() const { return x_bytes; } // NOLINT(google-explicit-constructor)
  operator dns::BytesView() const { return x_bytes; }    // NOLINT(google-explicit-constructor)

  // Dots part labels, whatever else they contain.
  static std::string plain(std::string_view text) {
    std::string wire;
    while (!text.empty()) {
      const auto dot = text.find('.');
      const auto label = text.substr(0, dot);
      wire.push_back(static_cast<char>(label.size()));
      wire += label;
      text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
    }
    wire.push_back('\0');
    return wire;
  }

private:
  dns::Bytes x_bytes;
};

} // namespace weir::test
