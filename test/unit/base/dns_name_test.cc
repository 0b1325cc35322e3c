#include "proxy/base/dns_name.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <unordered_set>

namespace {

using namespace weir;
using Labels = std::vector<std::string>;
using Views = std::vector<std::string_view>;

DnsName name(std::string_view text) {
  const auto parsed = DnsName::from_text(text);
  CAPTURE(text);
  REQUIRE(parsed);
  return *parsed;
}

TEST_CASE("a name is its labels in wire form, lower-cased, with or without the last dot") {
  CHECK(name("WWW.Example.com").wire() == "\3www\7example\3com");
  CHECK(name("www.example.com.") == name("www.example.com"));
  CHECK(name("www.example.com").labels() == Views{"www", "example", "com"});
  CHECK(name("www.example.com").to_text() == "www.example.com.");
  CHECK(name("_sip._tcp.a").to_text() == "_sip._tcp.a.");
}

TEST_CASE("the root has no labels") {
  for (const auto* text : {"", "."}) {
    CHECK(name(text).is_root());
    CHECK(name(text).labels().empty());
    CHECK(name(text).to_text() == ".");
  }
  CHECK(DnsName::from_labels({}) == DnsName());
}

TEST_CASE("a dot inside a label stays inside it") {
  const DnsName disguised = name("www\\.good.com");
  CHECK(disguised.labels() == Views{"www.good", "com"});
  CHECK(disguised != name("www.good.com"));
  CHECK(disguised.to_text() == "www\\.good.com.");
  CHECK(name(disguised.to_text()) == disguised);
  CHECK(DnsName::from_labels({"www.good", "com"}) == disguised);
  CHECK(name("a\\.") != name("a"));
  CHECK(name("a\\.").labels() == Views{"a."});
}

TEST_CASE("bytes that are no text are written as numbers and read back") {
  const auto parsed = DnsName::from_labels({std::string("a\0b", 3), "\xff ", "\\"});
  REQUIRE(parsed);
  CHECK(parsed->to_text() == "a\\000b.\\255\\032.\\\\.");
  CHECK(DnsName::from_text(parsed->to_text()) == *parsed);
  CHECK(name("\\097bc") == name("abc"));
  CHECK(name("\\065bc") == name("abc")); // an escaped letter has no case of its own either
}

TEST_CASE("a name is read from its wire form, and only from labels that a name may have") {
  const auto wire = [](std::string_view text) { return DnsName::from_wire(text); };
  CHECK(wire("\3wWw\7example\3COM") == name("www.example.com"));
  CHECK(wire("") == DnsName());
  for (const std::string_view other : {std::string_view("\0", 1), std::string_view("\1a\0", 3),
                                       std::string_view("\2a"), std::string_view("\3www\7"),
                                       std::string_view("\x40"
                                                        "a")}) {
    CHECK_FALSE(wire(other));
  }
  CHECK(wire("\x3f" + std::string(63, 'a')));
  CHECK_FALSE(wire("\x40" + std::string(64, 'a')));
  std::string longest;
  for (int i = 0; i < 127; ++i) {
    longest += "\1a";
  }
  CHECK(wire(longest));
  CHECK_FALSE(wire(longest + "\1a"));
}

TEST_CASE("case is folded for ASCII letters only") {
  CHECK(DnsName::from_labels({"\xc3\x84"}) != DnsName::from_labels({"\xc3\xa4"}));
  CHECK(name("A@[`{Z").wire() == "\6a@[`{z");
}

TEST_CASE("a broken escape is refused") {
  const auto text = GENERATE(as<std::string>{}, "a\\", "a\\256.b", "a\\99", "a\\1", "a\\12x.b");
  CAPTURE(text);
  CHECK_FALSE(DnsName::from_text(text));
}

TEST_CASE("empty labels are refused") {
  const auto text = GENERATE(as<std::string>{}, ".a", "a..b", "a..", "..");
  CAPTURE(text);
  CHECK_FALSE(DnsName::from_text(text));
  CHECK_FALSE(DnsName::from_labels({"a", "", "b"}));
}

TEST_CASE("a label has at most 63 bytes") {
  const std::string longest(63, 'a');
  CHECK(DnsName::from_text(longest + ".com"));
  CHECK_FALSE(DnsName::from_text(longest + "a.com"));
  CHECK(DnsName::from_labels({longest}));
  CHECK_FALSE(DnsName::from_labels({longest + "a"}));
}

TEST_CASE("a name has at most 255 bytes with its root") {
  const std::string label(63, 'a');
  // 64 + 64 + 64 + 62 = 254, and the root's byte.
  CHECK(DnsName::from_labels({label, label, label, std::string(61, 'b')}));
  CHECK_FALSE(DnsName::from_labels({label, label, label, std::string(62, 'b')}));
  CHECK_FALSE(DnsName::from_labels({label, label, label, label}));
  // Counted on the wire, not in text: four characters may stand for one byte.
  std::string escaped;
  for (int i = 0; i < 60; ++i) {
    escaped += "\\000";
  }
  CHECK(DnsName::from_text(escaped + "." + label + "." + label + "." + label));
}

TEST_CASE("names are ordered and hashed by their labels") {
  const std::unordered_set<DnsName> set = {name("a.b"), name("A.B."), name("a\\.b")};
  CHECK(set.size() == 2);
  CHECK((name("a.b") <=> name("a.b")) == 0);
}

} // namespace
