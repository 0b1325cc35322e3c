#include "proxy/endpoint/identity.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::IpPrefix;
using weir::endpoint::IdentityAllocator;
using weir::policy::Labels;

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }

TEST_CASE("the same labels, prefix and name always get the same number") {
  IdentityAllocator numbers(7);
  const Labels web{{"k8s:app", "web"}};
  const Labels api{{"k8s:app", "api"}};
  const auto first = numbers.identity_of(web);
  CHECK(numbers.identity_of(api) != first);
  CHECK(numbers.identity_of(web) == first);
  CHECK(first >= WEIR_IDENTITY_FIRST_POD);
  CHECK(first < WEIR_IDENTITY_FIRST_PREFIX);
  const auto ten = numbers.identity_of(prefix("10.0.0.0/8"));
  CHECK(ten >= WEIR_IDENTITY_FIRST_PREFIX);
  CHECK(numbers.identity_of(prefix("10.1.0.0/16")) != ten);
  CHECK(numbers.identity_of(prefix("10.0.0.0/8")) == ten);
  CHECK(numbers.endpoint_id("shop/web") != 0);
  CHECK(numbers.endpoint_id("shop/web") != numbers.endpoint_id("shop/api"));
}

TEST_CASE("numbers keep their meaning over a restart") {
  IdentityAllocator before(1);
  const auto web = before.identity_of(Labels{{"k8s:app", "web"}});
  const auto ten = before.identity_of(prefix("10.0.0.0/8"));
  const auto six = before.identity_of(prefix("fd00::/8"));
  const auto pod = before.endpoint_id("shop/web");
  REQUIRE(before.bit_of(pod, "group a") == 0u);
  REQUIRE(before.bit_of(pod, "group b") == 1u);

  IdentityAllocator after(999);
  REQUIRE(after.restore(before.serialize()).has_value());
  after.begin_compile();
  CHECK(after.bit_of(pod, "group b") == 1u);
  CHECK(after.identity_of(Labels{{"k8s:app", "web"}}) == web);
  CHECK(after.identity_of(prefix("10.0.0.0/8")) == ten);
  CHECK(after.identity_of(prefix("fd00::/8")) == six);
  CHECK(after.endpoint_id("shop/web") == pod);
  CHECK(after.endpoint_id("shop/new") > pod);
  CHECK(after.identity_of(Labels{{"k8s:app", "new"}}) > web);
}

TEST_CASE("a lost state gives out no number that old maps may still hold") {
  IdentityAllocator before(1000);
  const auto old = before.endpoint_id("shop/web");
  IdentityAllocator after(1000 + 60);
  CHECK(after.endpoint_id("shop/other") > old);
}

TEST_CASE("a group's bit is given out again only after it was released") {
  IdentityAllocator numbers(1);
  REQUIRE(numbers.bit_of(5, "old") == 0u);
  numbers.begin_compile();
  CHECK(numbers.bit_of(5, "new") == 1u);
  CHECK(numbers.bits_in_use(5) == 0b10u);
  numbers.release_unused();
  numbers.begin_compile();
  CHECK(numbers.bit_of(5, "new") == 1u);
  CHECK(numbers.bit_of(5, "newer") == 0u);
  CHECK(numbers.bits_in_use(5) == 0b11u);
}

TEST_CASE("the 65th group of an endpoint gets no bit, another endpoint's does") {
  IdentityAllocator numbers(1);
  for (int i = 0; i < 64; ++i) {
    REQUIRE(numbers.bit_of(5, std::to_string(i)).has_value());
  }
  CHECK_FALSE(numbers.bit_of(5, "one too many").has_value());
  CHECK(numbers.bit_of(6, "first") == 0u);
}

TEST_CASE("a state that cannot be understood is refused whole") {
  IdentityAllocator numbers(1);
  const auto web = numbers.endpoint_id("shop/web");
  for (const char* text :
       {"", "{", "[]", R"({"version":2})", R"({"version":1})",
        R"({"version":1,"next_identity":256,"next_prefix":1,"next_endpoint":1,"identities":[],)"
        R"("prefixes":{"nonsense":1},"endpoints":{},"fqdn_groups":[]})",
        R"({"version":1,"next_identity":256,"next_prefix":1,"next_endpoint":1,"identities":[],)"
        R"("prefixes":{},"endpoints":{},"fqdn_groups":[{"endpoint":1,"group":"x","bit":64}]})"}) {
    INFO(text);
    CHECK_FALSE(numbers.restore(text).has_value());
    CHECK(numbers.endpoint_id("shop/web") == web);
  }
}

} // namespace
