#include "test/support/packet_builder.h"

#include "proxy/base/check.h"

#include <netinet/in.h>

#include <algorithm>

namespace weir::test {

namespace {

void put16(Bytes& bytes, unsigned value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value));
}

IpAddress address(std::string_view text) {
  // Mapped addresses are no text that weir reads; tests of disguises need them nevertheless.
  if (text.starts_with("::ffff:")) {
    text.remove_prefix(7);
  }
  return IpAddress::parse(text).value();
}

void put_address(Bytes& bytes, const IpAddress& address, bool v6) {
  const auto& all = address.bytes();
  bytes.insert(bytes.end(), v6 ? all.begin() : all.begin() + 12, all.end());
}

} // namespace

PacketBuilder::PacketBuilder(std::string_view source, std::string_view destination)
    : x_source(address(source)), x_destination(address(destination)) {
  x_v6 = source.find(':') != std::string_view::npos;
}

PacketBuilder& PacketBuilder::tcp(std::uint16_t source_port, std::uint16_t destination_port,
                                  std::uint8_t flags) {
  Bytes header;
  put16(header, source_port);
  put16(header, destination_port);
  header.resize(12);
  header.push_back(5 << 4); // header length in words
  header.push_back(flags);
  header.resize(20);
  return raw(IPPROTO_TCP, std::move(header));
}

PacketBuilder& PacketBuilder::udp(std::uint16_t source_port, std::uint16_t destination_port) {
  Bytes header;
  put16(header, source_port);
  put16(header, destination_port);
  put16(header, 8);
  put16(header, 0);
  return raw(IPPROTO_UDP, std::move(header));
}

PacketBuilder& PacketBuilder::sctp(std::uint16_t source_port, std::uint16_t destination_port) {
  Bytes header;
  put16(header, source_port);
  put16(header, destination_port);
  header.resize(12);
  return raw(IPPROTO_SCTP, std::move(header));
}

PacketBuilder& PacketBuilder::icmp_echo(bool reply, std::uint16_t identifier) {
  const unsigned type = x_v6 ? (reply ? 129 : 128) : (reply ? 0 : 8);
  icmp(static_cast<std::uint8_t>(type));
  x_payload[4] = static_cast<std::uint8_t>(identifier >> 8);
  x_payload[5] = static_cast<std::uint8_t>(identifier);
  return *this;
}

PacketBuilder& PacketBuilder::icmp(std::uint8_t type) {
  Bytes header(8);
  header[0] = type;
  const std::uint8_t v6 = IPPROTO_ICMPV6, v4 = IPPROTO_ICMP;
  return raw(x_v6 ? v6 : v4, std::move(header));
}

PacketBuilder& PacketBuilder::icmp_error(const PacketBuilder& quoted) {
  icmp(x_v6 ? 1 : 3); // destination unreachable
  const Bytes packet = quoted.network_packet();
  const std::size_t cited = std::min(packet.size(), packet.size() - quoted.x_payload.size() + 8);
  x_payload.insert(x_payload.end(), packet.begin(),
                   packet.begin() + static_cast<std::ptrdiff_t>(cited));
  return *this;
}

PacketBuilder& PacketBuilder::raw(std::uint8_t protocol, Bytes payload) {
  x_protocol = protocol;
  x_payload = std::move(payload);
  return *this;
}

PacketBuilder& PacketBuilder::hop_limit(std::uint8_t value) {
  x_hop_limit = value;
  return *this;
}

PacketBuilder& PacketBuilder::ether_type(std::uint16_t value) {
  x_ether_type = value;
  return *this;
}

PacketBuilder& PacketBuilder::ipv4_options(std::size_t words) {
  return ipv4_options(Bytes(4 * words, 1));
}

PacketBuilder& PacketBuilder::ipv4_options(Bytes options) {
  x_options = std::move(options);
  x_options.resize((x_options.size() + 3) / 4 * 4);
  return *this;
}

PacketBuilder& PacketBuilder::fragment(std::uint16_t offset, bool more) {
  x_fragmented = true;
  x_fragment = static_cast<std::uint16_t>(offset | (more ? 0x2000 : 0));
  return *this;
}

PacketBuilder& PacketBuilder::extension(std::uint8_t type, std::uint8_t length) {
  x_extensions.insert(x_extensions.begin(), {type, length});
  return *this;
}

Bytes PacketBuilder::network_packet() const {
  Bytes packet;
  if (!x_v6) {
    WEIR_CHECK(x_extensions.empty());
    const std::size_t header = 20 + x_options.size();
    packet.push_back(static_cast<std::uint8_t>(0x40 | (header / 4)));
    packet.push_back(0);
    put16(packet, static_cast<unsigned>(header + x_payload.size()));
    put16(packet, 1);
    put16(packet, x_fragment);
    packet.push_back(x_hop_limit);
    packet.push_back(x_protocol);
    put16(packet, 0);
    put_address(packet, x_source, false);
    put_address(packet, x_destination, false);
    packet.insert(packet.end(), x_options.begin(), x_options.end());
  } else {
    Bytes extensions;
    std::uint8_t first = x_protocol;
    if (x_fragmented) {
      extensions = {x_protocol, 0};
      const unsigned offset = static_cast<unsigned>(x_fragment & 0x1fff) << 3;
      put16(extensions, offset | ((x_fragment & 0x2000) != 0 ? 1 : 0));
      extensions.resize(8);
      first = 44;
    }
    for (auto entry = x_extensions.rbegin(); entry != x_extensions.rend(); ++entry) {
      const auto& [type, length] = *entry;
      Bytes header{first, length};
      header.resize((length + 1u) * 8);
      extensions.insert(extensions.begin(), header.begin(), header.end());
      first = type;
    }
    packet = {0x60, 0, 0, 0};
    put16(packet, static_cast<unsigned>(extensions.size() + x_payload.size()));
    packet.push_back(first);
    packet.push_back(x_hop_limit);
    put_address(packet, x_source, true);
    put_address(packet, x_destination, true);
    packet.insert(packet.end(), extensions.begin(), extensions.end());
  }
  packet.insert(packet.end(), x_payload.begin(), x_payload.end());
  return packet;
}

Bytes PacketBuilder::build() const {
  Bytes frame(12);
  const unsigned type = x_v6 ? 0x86dd : 0x0800;
  put16(frame, x_ether_type != 0 ? x_ether_type : type);
  const Bytes packet = network_packet();
  frame.insert(frame.end(), packet.begin(), packet.end());
  return frame;
}

} // namespace weir::test
