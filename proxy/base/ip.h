// Internet addresses as values. One form for both families: 16 bytes in network order, IPv4 as
// ::ffff:a.b.c.d, which is also the form of the BPF maps (redirect-bpf/abi/weir_abi.h).
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

class IpAddress {
public:
  using Bytes = std::array<std::uint8_t, 16>;

  IpAddress() = default; // ::
  explicit IpAddress(const Bytes& bytes) : x_bytes(bytes) {}

  // Dotted quad or RFC 4291 text, without brackets, zone or prefix length. IPv4-mapped IPv6 text
  // ("::ffff:1.2.3.4") is refused: on the wire it would be a disguise of an IPv4 address.
  static std::optional<IpAddress> parse(std::string_view text);
  static IpAddress from_v4(const std::uint8_t (&bytes)[4]);

  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] const Bytes& bytes() const { return x_bytes; }
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

private:
  Bytes x_bytes{};
};

// An address block; host bits are cleared on construction.
class IpPrefix {
public:
  IpPrefix() = default;
  // length counts in the address's own family: 0..32 for IPv4, 0..128 for IPv6.
  IpPrefix(const IpAddress& address, std::uint8_t length);
  static IpPrefix host(const IpAddress& address);
  // "10.0.0.0/8"; a bare address is refused, as the policy language does.
  static std::optional<IpPrefix> parse(std::string_view text);

  [[nodiscard]] const IpAddress& address() const { return x_address; }
  [[nodiscard]] std::uint8_t length() const; // in the address's family
  // Over the 16-byte form: IPv4 /n is 96 + n.
  [[nodiscard]] std::uint8_t mapped_length() const { return x_mapped_length; }
  [[nodiscard]] bool is_v4() const { return x_v4; }
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool contains(const IpPrefix& other) const;
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const IpPrefix&) const = default;

private:
  IpAddress x_address;
  std::uint8_t x_mapped_length = 0;
  bool x_v4 = false;
};

struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  // "127.0.0.1:80", "[::1]:80"
  static std::optional<SocketAddress> parse(std::string_view text);
  static SocketAddress from_sockaddr(const sockaddr_storage& storage);
  // Fills storage and returns its used length.
  socklen_t to_sockaddr(sockaddr_storage& storage) const;
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const SocketAddress&) const = default;
};

// Three addresses of one connection that must not be mixed up.
struct ClientAddr {
  SocketAddress value; // who opened it
};
struct OriginalDst {
  SocketAddress value; // whom the client meant to reach
};
struct ListenAddr {
  SocketAddress value; // where weir itself listens
};

} // namespace weir

template <>
struct std::hash<weir::IpAddress> {
  std::size_t operator()(const weir::IpAddress& address) const noexcept {
    const auto& bytes = address.bytes();
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
};
