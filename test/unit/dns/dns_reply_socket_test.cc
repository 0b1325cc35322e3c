#include "proxy/session/dns_reply_socket.h"

#include "test/unit/dns/session_fixture.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace weir::session {
namespace {

using test::address;
using test::TestSocket;

bool privileged() {
  if (::geteuid() == 0) {
    return true;
  }
  if (std::getenv("CI") != nullptr) {
    FAIL("needs root, and CI must not skip it");
  }
  SKIP("needs root");
  return false;
}

TEST_CASE("The checksum is that of RFC 768, for either family, and never 0") {
  const dns::Bytes header{0x00, 0x35, 0x30, 0x39, 0x00, 0x0b, 0x00, 0x00};
  const dns::Bytes message{'a', 'b', 'c'};
  const auto v4 = udp_checksum(*IpAddress::parse("192.0.2.1"), *IpAddress::parse("198.51.100.2"),
                               header, message);
  const auto v6 = udp_checksum(*IpAddress::parse("2001:db8::1"), *IpAddress::parse("2001:db8::2"),
                               header, message);
  // c000 0201 c633 6402 0011 000b 0035 3039 000b 0000 6162 6300
  CHECK(v4 == 0x1ed0);
  // 2001 0db8 0001 2001 0db8 0002 0011 000b 0035 3039 000b 0000 6162 6300
  CHECK(v6 == 0xaf92);

  // With its checksum in place a datagram sums up to all ones, which is written as 0xffff.
  dns::Bytes complete = header;
  complete[6] = static_cast<std::uint8_t>(v4 >> 8);
  complete[7] = static_cast<std::uint8_t>(v4 & 0xff);
  CHECK(udp_checksum(*IpAddress::parse("192.0.2.1"), *IpAddress::parse("198.51.100.2"), complete,
                     message) == 0xffff);
}

std::size_t send(DnsReplySocket& socket, const SocketAddress& from, const SocketAddress& to,
                 const dns::Bytes& message) {
  const DnsReply reply{from, to, message};
  return socket.send({&reply, 1});
}

// The kernel drops a datagram whose checksum is wrong, so that arriving proves it right.
void check_arrives(std::string_view from, std::string_view to, std::size_t size) {
  CAPTURE(from, to, size);
  const bool v6 = !address(from).ip.is_v4();
  auto socket = DnsReplySocket::open(v6);
  REQUIRE(socket.has_value());
  TestSocket client(SOCK_DGRAM, to);
  dns::Bytes message(size);
  for (std::size_t i = 0; i < size; ++i) {
    message[i] = static_cast<std::uint8_t>(i * 7);
  }
  REQUIRE(send(*socket, address(from), client.address(), message) == 1);
  const auto [got, sender] = client.receive();
  CHECK(got == message);
  CHECK(sender == address(from));
}

TEST_CASE("An answer leaves in the name of a server that is not this machine", "[root]") {
  if (!privileged()) {
    return;
  }
  check_arrives("203.0.113.53:53", "127.0.0.1:0", 40);
  check_arrives("203.0.113.53:53", "127.0.0.1:0", 41);
  check_arrives("[2001:db8::53]:53", "[::1]:0", 40);
}

TEST_CASE("An answer may be larger than a packet", "[root]") {
  if (!privileged()) {
    return;
  }
  check_arrives("203.0.113.53:53", "127.0.0.1:0", 65507);
  check_arrives("[2001:db8::53]:53", "[::1]:0", 65000);
}

TEST_CASE("A server on this machine loses nothing to answers in its name", "[root]") {
  if (!privileged()) {
    return;
  }
  TestSocket server(SOCK_DGRAM, "127.0.0.53:0");
  auto socket = DnsReplySocket::open(false);
  REQUIRE(socket.has_value());
  TestSocket client(SOCK_DGRAM, "127.0.0.1:0");
  const dns::Bytes message{1, 2, 3};
  for (int i = 0; i < 100; ++i) {
    REQUIRE(send(*socket, server.address(), client.address(), message) == 1);
    client.send_to(server.address(), message);
    server.receive();
    client.receive();
  }
}

TEST_CASE("Addresses of two families are refused", "[root]") {
  if (!privileged()) {
    return;
  }
  auto socket = DnsReplySocket::open(false);
  REQUIRE(socket.has_value());
  CHECK(send(*socket, address("192.0.2.1:53"), address("[::1]:9"), dns::Bytes{1}) == 0);
}

TEST_CASE("Many answers leave together, and one that cannot leave holds up no other", "[root]") {
  if (!privileged()) {
    return;
  }
  auto socket = DnsReplySocket::open(false);
  REQUIRE(socket.has_value());
  TestSocket client(SOCK_DGRAM, "127.0.0.1:0");
  std::vector<DnsReply> replies(100, {address("203.0.113.53:53"), client.address(), {0}});
  for (std::size_t i = 0; i < replies.size(); ++i) {
    replies[i].message[0] = static_cast<std::uint8_t>(i);
  }
  replies[40].to = address("[::1]:9"); // of the other family
  replies[50].message.resize(65530);   // larger than IPv4 carries
  CHECK(socket->send(replies) == 98);
  for (std::uint8_t i = 0; i < 100; ++i) {
    if (i != 40 && i != 50) {
      CHECK(client.receive().first == dns::Bytes{i});
    }
  }
}

} // namespace
} // namespace weir::session
