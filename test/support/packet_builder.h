// Packets as bytes, for programs that run in BPF_PROG_TEST_RUN: Ethernet, IPv4 or IPv6, a transport
// header. Checksums are left 0: nobody who reads these packets looks at them.
#pragma once

#include "proxy/base/ip.h"

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::test {

using Bytes = std::vector<std::uint8_t>;

class PacketBuilder {
public:
  // Both of one family.
  PacketBuilder(std::string_view source, std::string_view destination);

  PacketBuilder& tcp(std::uint16_t source_port, std::uint16_t destination_port,
                     std::uint8_t flags); // as in byte 13 of the header
  PacketBuilder& udp(std::uint16_t source_port, std::uint16_t destination_port);
  PacketBuilder& sctp(std::uint16_t source_port, std::uint16_t destination_port);
  PacketBuilder& icmp_echo(bool reply, std::uint16_t identifier);
  PacketBuilder& icmp(std::uint8_t type);
  // About `quoted`, of which the IP header and 8 bytes are cited.
  PacketBuilder& icmp_error(const PacketBuilder& quoted);
  PacketBuilder& raw(std::uint8_t protocol, Bytes payload);

  PacketBuilder& hop_limit(std::uint8_t value);
  PacketBuilder& ether_type(std::uint16_t value);           // else what the family says
  PacketBuilder& ipv4_options(std::size_t words);           // no operation
  PacketBuilder& ipv4_options(Bytes options);               // padded to whole words
  PacketBuilder& fragment(std::uint16_t offset, bool more); // offset in 8-byte units
  // IPv6: a header of `length` 8-byte units beyond the first, all zero, before those added so far.
  PacketBuilder& extension(std::uint8_t type, std::uint8_t length = 0);

  [[nodiscard]] Bytes build() const;

private:
  [[nodiscard]] Bytes network_packet() const;

  IpAddress x_source, x_destination;
  bool x_v6 = false;
  std::uint8_t x_protocol = 59; // none
  Bytes x_payload;
  std::uint8_t x_hop_limit = 64;
  std::uint16_t x_ether_type = 0;
  Bytes x_options;
  std::uint16_t x_fragment = 0; // as IPv4 writes it
  bool x_fragmented = false;
  std::vector<std::pair<std::uint8_t, std::uint8_t>> x_extensions; // type and length, first first
};

} // namespace weir::test
