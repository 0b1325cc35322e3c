#include "proxy/base/ip.h"

#include "proxy/base/check.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace weir {
namespace {

constexpr IpAddress::Bytes kMappedV4 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
constexpr std::uint8_t kMappedBits = 96;

template <typename Number>
std::optional<Number> parse_decimal(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

} // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  // Bytes after a NUL would be ignored by inet_pton, not refused.
  if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  std::copy(text.begin(), text.end(), terminated.begin());
  Bytes bytes = kMappedV4;
  if (inet_pton(AF_INET, terminated.data(), bytes.data() + 12) == 1) {
    return IpAddress(bytes);
  }
  if (inet_pton(AF_INET6, terminated.data(), bytes.data()) == 1) {
    const IpAddress address(bytes);
    if (!address.is_v4()) {
      return address;
    }
  }
  return std::nullopt;
}

IpAddress IpAddress::from_v4(const std::uint8_t (&bytes)[4]) {
  Bytes mapped = kMappedV4;
  std::copy(std::begin(bytes), std::end(bytes), mapped.begin() + 12);
  return IpAddress(mapped);
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedV4.begin(), kMappedV4.begin() + 12, x_bytes.begin());
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!is_v4()) {
    inet_ntop(AF_INET6, x_bytes.data(), text.data(), text.size());
    return text.data();
  }
  // inet_ntop() would print it by a format, and each connection has its text made.
  char* end = text.data();
  for (std::size_t i = 12; i < 16; ++i) {
    end = std::to_chars(end, text.data() + text.size(), x_bytes[i]).ptr;
    *end++ = '.';
  }
  return {text.data(), end - 1};
}

IpPrefix::IpPrefix(const IpAddress& address, std::uint8_t length) : x_v4(address.is_v4()) {
  WEIR_CHECK(length <= (x_v4 ? 32 : 128));
  x_mapped_length = static_cast<std::uint8_t>(length + (x_v4 ? kMappedBits : 0));
  IpAddress::Bytes bytes = address.bytes();
  std::size_t at = x_mapped_length / 8;
  if (const int kept = x_mapped_length % 8; kept != 0) {
    bytes[at] = static_cast<std::uint8_t>(bytes[at] & (0xff00 >> kept));
    ++at;
  }
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(), std::uint8_t{0});
  x_address = IpAddress(bytes);
}

IpPrefix IpPrefix::host(const IpAddress& address) {
  return {address, static_cast<std::uint8_t>(address.is_v4() ? 32 : 128)};
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto address = IpAddress::parse(text.substr(0, slash));
  const auto length = parse_decimal<std::uint8_t>(text.substr(slash + 1));
  if (!address || !length || *length > (address->is_v4() ? 32 : 128)) {
    return std::nullopt;
  }
  return IpPrefix(*address, *length);
}

std::uint8_t IpPrefix::length() const {
  return static_cast<std::uint8_t>(x_mapped_length - (x_v4 ? kMappedBits : 0));
}

bool IpPrefix::contains(const IpAddress& address) const {
  const auto word = [](const IpAddress& of, std::size_t at) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, of.bytes().data() + at, sizeof bytes);
    return be64toh(bytes);
  };
  const std::uint64_t high = word(address, 0) ^ word(x_address, 0);
  const std::uint64_t low = word(address, 8) ^ word(x_address, 8);
  const bool begins_with_it = x_mapped_length <= 64
                                  ? x_mapped_length == 0 || high >> (64 - x_mapped_length) == 0
                                  : high == 0 && low >> (128 - x_mapped_length) == 0;
  // ::/0 is IPv6 only, although the mapped form of every IPv4 address lies in it.
  return begins_with_it && address.is_v4() == x_v4;
}

bool IpPrefix::contains(const IpPrefix& other) const {
  return other.x_mapped_length >= x_mapped_length && contains(other.x_address);
}

std::string IpPrefix::to_string() const {
  return x_address.to_string() + "/" + std::to_string(length());
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
  }
  const auto ip = IpAddress::parse(host);
  const auto port = parse_decimal<std::uint16_t>(text.substr(colon + 1));
  if (!ip || !port || bracketed == ip->is_v4()) {
    return std::nullopt;
  }
  return SocketAddress{*ip, *port};
}

SocketAddress SocketAddress::from_sockaddr(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    std::uint8_t bytes[4];
    std::memcpy(bytes, &v4.sin_addr, sizeof bytes);
    return {IpAddress::from_v4(bytes), ntohs(v4.sin_port)};
  }
  WEIR_CHECK(storage.ss_family == AF_INET6);
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  IpAddress::Bytes bytes;
  std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
  return {IpAddress(bytes), ntohs(v6.sin6_port)};
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage& storage) const {
  storage = {};
  if (ip.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.bytes().data() + 12, 4);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, ip.bytes().data(), 16);
  return sizeof v6;
}

std::string SocketAddress::to_string() const {
  const std::string host = ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]";
  return host + ":" + std::to_string(port);
}

} // namespace weir
