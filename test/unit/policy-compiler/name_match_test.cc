#include "policy-compiler/runtime/name_match.h"

#include <catch2/catch_test_macros.hpp>

using weir::DnsName;
using weir::policy::NameMatcher;

namespace {

bool matches(const char* pattern, const char* name) {
  const auto parsed = DnsName::from_text(name);
  REQUIRE(parsed);
  return NameMatcher::pattern(pattern).matches(*parsed);
}

} // namespace

TEST_CASE("D7: a star crosses no dot, and a name's neighbours are other names") {
  for (const char* other : {"good.com.evil.com", "a.b.good.com", "good.com", "evil-good.com",
                            "www.good.com.", "wwwgood.com", "www.good.co", "www\\.good.com"}) {
    INFO(other);
    CHECK(matches("*.good.com", other) == (std::string_view(other) == "www.good.com."));
  }
  // A star in a label is any text of that label: lint warns of it (pattern-look-alike).
  CHECK(matches("*good.com", "evil-good.com"));
  CHECK_FALSE(matches("*good.com", "evil.good.com"));
  CHECK_FALSE(matches("*good.com", "good.com.evil.com"));
  CHECK_FALSE(matches("good.com", "evil-good.com"));
}

TEST_CASE("a star stays within its label") {
  CHECK(matches("*.cilium.io", "www.cilium.io"));
  CHECK(matches("*.cilium.io", "WWW.Cilium.IO."));
  CHECK_FALSE(matches("*.cilium.io", "cilium.io"));
  CHECK_FALSE(matches("*.cilium.io", "a.b.cilium.io"));
  CHECK(matches("*cilium.io", "cilium.io"));
  CHECK(matches("*cilium.io", "subcilium.io"));
  CHECK_FALSE(matches("*cilium.io", "www.cilium.io"));
  CHECK(matches("a*b*c.io.", "a-x-bc.io"));
  CHECK_FALSE(matches("a*b*c.io", "a-x-c.io"));
}

TEST_CASE("two stars and a dot in front are one or more labels") {
  for (const char* pattern : {"**.cilium.io", "***.cilium.io"}) {
    CHECK(matches(pattern, "www.cilium.io"));
    CHECK(matches(pattern, "a.b.c.cilium.io"));
    CHECK_FALSE(matches(pattern, "cilium.io"));
    CHECK_FALSE(matches(pattern, "xcilium.io"));
  }
  CHECK(matches("www.**.io", "www.x.io")); // elsewhere they are one star
  CHECK_FALSE(matches("www.**.io", "www.x.y.io"));
  CHECK(matches("**a.io", "xa.io"));
}

TEST_CASE("only stars mean every name, the root too") {
  for (const char* pattern : {"*", "**", "*.", "***."}) {
    CHECK(matches(pattern, "."));
    CHECK(matches(pattern, "a.b.c"));
  }
  CHECK_FALSE(matches("*.*", "a"));
  CHECK(matches("*.*", "a.b"));
}

TEST_CASE("a star matches only characters of DNS names, and a dot in a label is no separator") {
  CHECK_FALSE(matches("*.io", "a\\.b.io"));
  CHECK_FALSE(matches("**.io", "a\\.b.io"));
  CHECK_FALSE(matches("*.io", "a\\032b.io"));
  CHECK(matches("*.io", "_srv-1.io"));
}

TEST_CASE("patterns that no name can have match none") {
  CHECK_FALSE(matches("a..io", "a.io"));
  CHECK_FALSE(matches("", "a.io"));
  CHECK_FALSE(NameMatcher::literal(std::string(300, 'a')).matches(*DnsName::from_text("a")));
}

TEST_CASE("server names are compared without case and never when absent or odd") {
  const NameMatcher literal = NameMatcher::pattern("Www.Example.com.");
  CHECK(literal.matches_server_name("www.example.COM"));
  CHECK_FALSE(literal.matches_server_name("example.com"));
  CHECK_FALSE(literal.matches_server_name(""));
  CHECK_FALSE(literal.matches_server_name("www.example.com."));
  CHECK_FALSE(literal.matches_server_name("www.example.com\n"));
  const NameMatcher wild = NameMatcher::pattern("*.example.com");
  CHECK(wild.matches_server_name("a.example.com"));
  CHECK_FALSE(wild.matches_server_name("a.b.example.com"));
  CHECK_FALSE(wild.matches_server_name("a/b.example.com"));
  CHECK(NameMatcher::pattern("*").matches_server_name("a.b"));
  CHECK_FALSE(NameMatcher::pattern("*").matches_server_name(std::string(254, 'a')));
}

TEST_CASE("a server name as long as a name may be is read to its end") {
  const NameMatcher all = NameMatcher::pattern("*");
  const NameMatcher deep = NameMatcher::pattern("**.io");
  std::string name;
  while (name.size() < 250) {
    name += "a.";
  }
  CHECK_FALSE(deep.matches_server_name(name + ".io"));
  CHECK(deep.matches_server_name(name + "io"));
  CHECK(deep.matches_server_name("b" + name + "io"));
  CHECK_FALSE(all.matches_server_name(name + "io."));  // 253 bytes, the last label empty
  CHECK_FALSE(all.matches_server_name(name + "ioio")); // 254
}
