#include "proxy/endpoint/registry.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::IpAddress;
using weir::IpPrefix;
using weir::endpoint::Endpoint;
using weir::endpoint::Registry;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Endpoint pod(std::uint32_t id, const char* name, std::uint32_t identity,
             std::vector<IpAddress> addresses) {
  Endpoint made;
  made.id = id;
  made.identity = identity;
  made.endpoint_namespace = "shop";
  made.name = name;
  made.addresses = std::move(addresses);
  return made;
}

TEST_CASE("an endpoint is found by each of its addresses and its name") {
  const Registry registry({pod(1, "web", 300, {ip("10.0.1.11"), ip("fd00::11")})}, {});
  REQUIRE(registry.by_address(ip("10.0.1.11")) != nullptr);
  CHECK(registry.by_address(ip("fd00::11")) == registry.by_address(ip("10.0.1.11")));
  CHECK(registry.by_name("shop/web") == registry.by_address(ip("10.0.1.11")));
  CHECK(registry.by_address(ip("10.0.1.12")) == nullptr);
  CHECK(registry.by_name("web") == nullptr);
}

TEST_CASE("an address is the pod's, else the longest prefix's, else its family's world") {
  const Registry registry({pod(1, "web", 300, {ip("10.0.1.11")})},
                          {{*IpPrefix::parse("10.0.0.0/8"), 1000},
                           {*IpPrefix::parse("10.0.1.0/24"), 1001},
                           {*IpPrefix::parse("0.0.0.0/0"), 1002},
                           {*IpPrefix::parse("fd00::/16"), 1003}});
  CHECK(registry.identity_of(ip("10.0.1.11")) == 300);
  CHECK(registry.identity_of(ip("10.0.1.12")) == 1001);
  CHECK(registry.identity_of(ip("10.9.9.9")) == 1000);
  CHECK(registry.identity_of(ip("192.0.2.1")) == 1002);
  CHECK(registry.identity_of(ip("fd01::1")) == WEIR_IDENTITY_WORLD_IPV6);
  CHECK(registry.identity_of(ip("fd00::1")) == 1003);
  CHECK(Registry({}, {}).identity_of(ip("192.0.2.1")) == WEIR_IDENTITY_WORLD_IPV4);
}

TEST_CASE("the whole IPv6 space is not the IPv4 space") {
  const Registry registry({}, {{*IpPrefix::parse("::/0"), 1000}});
  CHECK(registry.identity_of(ip("192.0.2.1")) == WEIR_IDENTITY_WORLD_IPV4);
  CHECK(registry.identity_of(ip("2001:db8::1")) == 1000);
}

} // namespace
