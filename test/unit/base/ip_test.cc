#include "proxy/base/ip.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace {

using namespace weir;

IpAddress ip(std::string_view text) {
  const auto parsed = IpAddress::parse(text);
  CAPTURE(text);
  REQUIRE(parsed);
  return *parsed;
}

IpPrefix prefix(std::string_view text) {
  const auto parsed = IpPrefix::parse(text);
  CAPTURE(text);
  REQUIRE(parsed);
  return *parsed;
}

TEST_CASE("an address of either family survives text and back") {
  const auto text = GENERATE(as<std::string>{}, "0.0.0.0", "10.0.1.11", "255.255.255.255",
                             "::", "::1", "fd00:10:1::11", "64:ff9b::102:304", "2001:db8::ffff");
  CHECK(ip(text).to_string() == text);
}

TEST_CASE("IPv6 text is written in its one canonical form") {
  CHECK(ip("2001:DB8:0:0:0:0:0:1").to_string() == "2001:db8::1");
  CHECK(ip("2001:db8:0:0:0:0:0:1") == ip("2001:db8::1"));
}

TEST_CASE("what is no address is refused") {
  const auto text =
      GENERATE(as<std::string>{}, "", " ", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4",
               "0x7f.0.0.1", "1.2.3.4 ", " 1.2.3.4", "[::1]", "fe80::1%lo", "10.0.0.0/8",
               "::1::", "12345::", "localhost", "1111:2222:3333:4444:5555:6666:7777:8888:9999");
  CAPTURE(text);
  CHECK_FALSE(IpAddress::parse(text));
}

TEST_CASE("bytes after a NUL are not ignored") {
  CHECK_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0x", 9)));
}

TEST_CASE("an IPv4-mapped IPv6 text is refused: it would disguise an IPv4 address") {
  const auto text = GENERATE(as<std::string>{}, "::ffff:1.2.3.4", "::FFFF:102:304",
                             "0:0:0:0:0:ffff:0102:0304", "::ffff:0:0");
  CAPTURE(text);
  CHECK_FALSE(IpAddress::parse(text));
  CHECK_FALSE(IpPrefix::parse(text + "/128"));
  CHECK_FALSE(SocketAddress::parse("[" + text + "]:80"));
}

TEST_CASE("IPv4-compatible IPv6 text is IPv6, not IPv4") {
  CHECK_FALSE(ip("::1.2.3.4").is_v4());
  CHECK(ip("::1.2.3.4") != ip("1.2.3.4"));
}

TEST_CASE("IPv4 is kept in the mapped form that the kernel's maps use") {
  const IpAddress::Bytes expected = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 11};
  CHECK(ip("10.0.1.11").bytes() == expected);
  CHECK(ip("10.0.1.11").is_v4());
  CHECK(IpAddress::from_v4({10, 0, 1, 11}) == ip("10.0.1.11"));
  CHECK_FALSE(ip("fd00::1").is_v4());
  CHECK_FALSE(IpAddress().is_v4());
}

TEST_CASE("addresses have an order and a hash that agree with equality") {
  std::vector<IpAddress> addresses = {ip("fd00::2"), ip("10.0.0.2"), ip("10.0.0.1"), ip("fd00::1")};
  std::sort(addresses.begin(), addresses.end());
  CHECK(addresses[0] == ip("10.0.0.1"));
  CHECK(addresses[3] == ip("fd00::2"));
  const std::unordered_set<IpAddress> set(addresses.begin(), addresses.end());
  CHECK(set.size() == 4);
  CHECK(set.contains(ip("10.0.0.2")));
  CHECK_FALSE(set.contains(ip("10.0.0.3")));
}

TEST_CASE("a prefix keeps its length in its family and clears the host's bits") {
  CHECK(prefix("10.1.2.3/8").to_string() == "10.0.0.0/8");
  CHECK(prefix("10.1.2.3/8").length() == 8);
  CHECK(prefix("10.1.2.3/8").mapped_length() == 104);
  CHECK(prefix("10.1.2.3/32").to_string() == "10.1.2.3/32");
  CHECK(prefix("10.1.2.255/25").to_string() == "10.1.2.128/25");
  CHECK(prefix("0.0.0.0/0").mapped_length() == 96);
  CHECK(prefix("fd00:1:2::3/17").to_string() == "fd00::/17");
  CHECK(prefix("fd00::1/128").length() == 128);
  CHECK(prefix("::/0").length() == 0);
  CHECK(prefix("10.1.2.3/8") == prefix("10.0.0.0/8"));
  CHECK(IpPrefix::host(ip("10.1.2.3")) == prefix("10.1.2.3/32"));
  CHECK(IpPrefix::host(ip("fd00::1")) == prefix("fd00::1/128"));
}

TEST_CASE("what is no prefix is refused") {
  const auto text = GENERATE(as<std::string>{}, "", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33",
                             "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8 ", "10.0.0.0/256",
                             "10.0.0.0/264", "10.0.0.0/8/8", "fd00::/129", "10.0.0.0/255.0.0.0");
  CAPTURE(text);
  CHECK_FALSE(IpPrefix::parse(text));
}

TEST_CASE("a prefix contains exactly the addresses that begin with it") {
  CHECK(prefix("10.0.0.0/8").contains(ip("10.255.255.255")));
  CHECK_FALSE(prefix("10.0.0.0/8").contains(ip("11.0.0.0")));
  CHECK(prefix("10.0.1.128/25").contains(ip("10.0.1.128")));
  CHECK_FALSE(prefix("10.0.1.128/25").contains(ip("10.0.1.127")));
  CHECK(prefix("10.0.1.11/32").contains(ip("10.0.1.11")));
  CHECK_FALSE(prefix("10.0.1.11/32").contains(ip("10.0.1.10")));
  CHECK(prefix("fd00:10::/29").contains(ip("fd00:17::1")));
  CHECK_FALSE(prefix("fd00:10::/29").contains(ip("fd00:18::1")));
}

TEST_CASE("neither family's everything contains the other family") {
  CHECK(prefix("0.0.0.0/0").contains(ip("255.1.2.3")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(ip("::1")));
  CHECK(prefix("::/0").contains(ip("fd00::1")));
  CHECK_FALSE(prefix("::/0").contains(ip("10.0.0.1")));
  CHECK_FALSE(prefix("::/0").contains(prefix("10.0.0.0/8")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(prefix("::/0")));
}

TEST_CASE("a prefix contains itself and what is narrower, never what is wider") {
  CHECK(prefix("10.0.0.0/8").contains(prefix("10.0.0.0/8")));
  CHECK(prefix("10.0.0.0/8").contains(prefix("10.1.0.0/16")));
  CHECK_FALSE(prefix("10.1.0.0/16").contains(prefix("10.0.0.0/8")));
  CHECK_FALSE(prefix("10.0.0.0/8").contains(prefix("11.1.0.0/16")));
}

TEST_CASE("a socket address survives text and back") {
  const auto text =
      GENERATE(as<std::string>{}, "127.0.0.1:80", "[::1]:80", "0.0.0.0:65535", "[fd00:10:1::11]:0");
  const auto parsed = SocketAddress::parse(text);
  REQUIRE(parsed);
  CHECK(parsed->to_string() == text);
}

TEST_CASE("what is no socket address is refused") {
  const auto text =
      GENERATE(as<std::string>{}, "", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
               "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1: 80", "::1:80", "[127.0.0.1]:80",
               "[::1]", "[::1:80", "::1]:80", "localhost:80", "*:80");
  CAPTURE(text);
  CHECK_FALSE(SocketAddress::parse(text));
}

TEST_CASE("a socket address becomes the kernel's form and comes back") {
  const auto text = GENERATE(as<std::string>{}, "10.0.1.11:8080", "[fd00:10:1::11]:8080");
  const auto address = SocketAddress::parse(text);
  REQUIRE(address);
  sockaddr_storage storage;
  const socklen_t length = address->to_sockaddr(storage);
  CHECK(SocketAddress::from_sockaddr(storage) == *address);
  if (address->ip.is_v4()) {
    CHECK(length == sizeof(sockaddr_in));
    CHECK(storage.ss_family == AF_INET);
    CHECK(reinterpret_cast<sockaddr_in&>(storage).sin_port == htons(8080));
  } else {
    CHECK(length == sizeof(sockaddr_in6));
    CHECK(storage.ss_family == AF_INET6);
    CHECK(reinterpret_cast<sockaddr_in6&>(storage).sin6_port == htons(8080));
  }
}

TEST_CASE("a mapped address from a dual-stack socket is the IPv4 address") {
  sockaddr_storage storage{};
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(80);
  REQUIRE(inet_pton(AF_INET6, "::ffff:10.0.1.11", &v6.sin6_addr) == 1);
  CHECK(SocketAddress::from_sockaddr(storage).to_string() == "10.0.1.11:80");
}

} // namespace
