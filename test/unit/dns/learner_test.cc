#include "proxy/dns/learner.h"

#include "test/unit/dns/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <string>
#include <vector>

namespace weir::dns {
namespace {

using test::Wire;

constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kAaaa = 28;

Learned learn(const Bytes& message, const LearnRules& rules = {}) {
  const auto response = parse_response(message);
  REQUIRE(response);
  return learn_addresses(*response, rules);
}

using Refused = std::array<std::size_t, kNotLearned>;
constexpr Refused kNothing{};
// So many of one kind, and none of another.
constexpr Refused only(NotLearned why, std::size_t count = 1) {
  Refused refused{};
  refused[static_cast<std::size_t>(why)] = count;
  return refused;
}

std::vector<std::string> texts(const Learned& learned) {
  std::vector<std::string> texts;
  for (const auto& address : learned.addresses) {
    texts.push_back(address.to_string());
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST_CASE("The addresses of the name that was asked for are learned, with their smallest time") {
  const auto learned = learn(Wire::response(1, "a.com", kA)
                                 .a("a.com", {192, 0, 2, 2}, 300)
                                 .a("A.com", {192, 0, 2, 1}, 20)
                                 .a("a.com", {192, 0, 2, 1}, 90));
  CHECK(texts(learned) == Texts{"192.0.2.1", "192.0.2.2"});
  CHECK(learned.ttl == 20);
  CHECK(learned.refused == kNothing);
}

TEST_CASE("D2: addresses of another owner are not learned") {
  const auto learned = learn(
      Wire::response(1, "a.com", kA).a("a.com", {192, 0, 2, 1}).a("evil.com", {192, 0, 2, 66}));
  CHECK(texts(learned) == Texts{"192.0.2.1"});
  CHECK(learned.refused == only(NotLearned::kChain));
}

TEST_CASE("D2: a chain of canonical names is followed in any order, with its smallest time") {
  const auto learned = learn(Wire::response(1, "a.com", kAaaa)
                                 .aaaa("c.net", "2001:db8::1", 300)
                                 .cname("b.com", "c.net", 10)
                                 .cname("a.com", "b.com", 60));
  CHECK(texts(learned) == Texts{"2001:db8::1"});
  CHECK(learned.ttl == 10);
}

TEST_CASE("D2: a broken chain teaches nothing") {
  const auto learned =
      learn(Wire::response(1, "a.com", kA).cname("a.com", "b.com").a("c.com", {192, 0, 2, 1}));
  CHECK(learned.addresses.empty());
  CHECK(learned.refused == only(NotLearned::kChain));
}

TEST_CASE("D2: an address beside a canonical name is not at the end of the chain") {
  const auto learned = learn(Wire::response(1, "a.com", kA)
                                 .cname("a.com", "b.com")
                                 .a("a.com", {192, 0, 2, 66})
                                 .a("b.com", {192, 0, 2, 1}));
  CHECK(texts(learned) == Texts{"192.0.2.1"});
}

TEST_CASE("D2: a chain that loops teaches nothing") {
  CHECK(learn(Wire::response(1, "a.com", kA)
                  .cname("a.com", "b.com")
                  .cname("b.com", "a.com")
                  .a("a.com", {192, 0, 2, 1})
                  .a("b.com", {192, 0, 2, 1}))
            .addresses.empty());
  CHECK(learn(Wire::response(1, "a.com", kA).cname("a.com", "a.com").a("a.com", {192, 0, 2, 1}))
            .addresses.empty());
}

TEST_CASE("D2: a chain of twenty links is followed, of twenty-one it is not") {
  for (const int links : {20, 21}) {
    auto response = Wire::response(1, "n0.com", kA);
    for (int i = 0; i < links; ++i) {
      response.cname("n" + std::to_string(i) + ".com", "n" + std::to_string(i + 1) + ".com");
    }
    response.a("n" + std::to_string(links) + ".com", {192, 0, 2, 1});
    CHECK(learn(response).addresses.size() == (links == 20 ? 1 : 0));
  }
}

TEST_CASE("D2: two canonical names of one name teach nothing, the same one twice does no harm") {
  auto response = Wire::response(1, "a.com", kA).cname("a.com", "b.com").a("b.com", {192, 0, 2, 1});
  CHECK(learn(Wire(response).cname("a.com", "b.com")).addresses.size() == 1);
  CHECK(learn(Wire(response).cname("a.com", "c.com")).addresses.empty());
}

TEST_CASE("D2: a DNAME above the name leads on, with or without the CNAME that it amounts to") {
  auto response = Wire::response(1, "www.old.com", kA)
                      .dname("old.com", "new.net", 15)
                      .a("www.new.net", {192, 0, 2, 1}, 300);
  CHECK(texts(learn(response)) == Texts{"192.0.2.1"});
  CHECK(learn(response).ttl == 15);
  CHECK(texts(learn(Wire(response).cname("www.old.com", "www.new.net", 5))) == Texts{"192.0.2.1"});
}

TEST_CASE("D2: a DNAME says nothing of its own owner, nor of a name that merely ends alike") {
  CHECK(
      learn(
          Wire::response(1, "old.com", kA).dname("old.com", "new.net").a("new.net", {192, 0, 2, 1}))
          .addresses.empty());
  CHECK(learn(Wire::response(1, "www.bold.com", kA)
                  .dname("old.com", "new.net")
                  .a("www.bnew.net", {192, 0, 2, 1})
                  .a("www.new.net", {192, 0, 2, 1}))
            .addresses.empty());
}

TEST_CASE("D2: a DNAME that grows the name without end teaches nothing") {
  CHECK(learn(Wire::response(1, "a.x", kA).dname("x", "b.x").a("a.x", {192, 0, 2, 1}))
            .addresses.empty());
}

TEST_CASE("D3: addresses in the authority and additional sections are never learned") {
  const std::string address("\xc0\x00\x02\x01", 4);
  const auto learned = learn(Wire::response(1, "a.com", kA)
                                 .record("a.com", 1, 60, address, 8)
                                 .record("a.com", 1, 60, address, 10));
  CHECK(learned.addresses.empty());
}

TEST_CASE("Only the type that was asked for is learned, and only from an answer without error") {
  CHECK(learn(Wire::response(1, "a.com", kAaaa).a("a.com", {192, 0, 2, 1})).addresses.empty());
  CHECK(learn(Wire::response(1, "a.com", 65).a("a.com", {192, 0, 2, 1})).addresses.empty());
  CHECK(learn(Wire(1, 0x8183).question("a.com", kA).a("a.com", {192, 0, 2, 1})).addresses.empty());
}

TEST_CASE("D6: a label with a dot inside is not the name that reads the same") {
  auto response = Wire::response(1, "www.good.com", kA);
  response.count(6).raw(std::string("\x08www.good\x03"
                                    "com\x00",
                                    14));
  response.u16(1).u16(1).u16(0).u16(60).u16(4).raw("\xc6\x33\x64\x01");
  const auto learned = learn(response);
  CHECK(learned.addresses.empty());
  CHECK(learned.refused == only(NotLearned::kChain));
}

TEST_CASE("D8: IPv4 addresses that no name may open are not learned") {
  for (const auto* text :
       {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.0.1",
        "100.100.100.200", "224.0.0.1", "239.255.255.255", "255.255.255.255"}) {
    CAPTURE(text);
    CHECK(never_learned(*IpAddress::parse(text)));
  }
  for (const auto* text : {"10.0.0.1", "192.168.1.1", "1.1.1.1", "126.255.255.255", "128.0.0.1",
                           "169.253.1.1", "223.255.255.255"}) {
    CAPTURE(text);
    CHECK_FALSE(never_learned(*IpAddress::parse(text)));
  }
}

TEST_CASE("D8: IPv6 addresses that no name may open, in whatever disguise, are not learned") {
  for (const auto* text : {"::", "::1", "::7f00:1", "fe80::1", "febf::1", "ff02::1",
                           "fd00:ec2::254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
                           "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::1", "2002:a9fe:a9fe::"}) {
    CAPTURE(text);
    CHECK(never_learned(*IpAddress::parse(text)));
  }
  for (const auto* text : {"2001:db8::1", "fd00::1", "64:ff9b::101:101", "2002:101:101::1"}) {
    CAPTURE(text);
    CHECK_FALSE(never_learned(*IpAddress::parse(text)));
  }
}

TEST_CASE("D8: an AAAA record of a mapped IPv4 address is not learned, whichever it is") {
  const std::string mapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x01\x01\x01", 16);
  const auto learned = learn(Wire::response(1, "a.com", kAaaa).record("a.com", kAaaa, 60, mapped));
  CHECK(learned.addresses.empty());
  CHECK(learned.refused == only(NotLearned::kRange));
}

TEST_CASE("D8: addresses that the caller refuses are not learned, nor what translates to them") {
  const auto pod = *IpAddress::parse("10.0.1.11");
  LearnRules refused;
  refused.is_cluster = [&](const IpAddress& address) { return address == pod; };
  CHECK(texts(learn(
            Wire::response(1, "a.com", kA).a("a.com", {10, 0, 1, 11}).a("a.com", {10, 0, 1, 12}),
            refused)) == Texts{"10.0.1.12"});
  CHECK(
      learn(Wire::response(1, "a.com", kAaaa).aaaa("a.com", "64:ff9b::a00:10b"), refused).refused ==
      only(NotLearned::kCluster));
}

TEST_CASE("D8: private addresses are learned, unless they are not wanted") {
  const auto v4 = Wire::response(1, "a.com", kA)
                      .a("a.com", {10, 1, 2, 3})
                      .a("a.com", {172, 31, 0, 1})
                      .a("a.com", {192, 168, 0, 1})
                      .a("a.com", {100, 64, 0, 1})
                      .a("a.com", {172, 32, 0, 1});
  const auto v6 = Wire::response(1, "a.com", kAaaa)
                      .aaaa("a.com", "fd00::1")
                      .aaaa("a.com", "64:ff9b::a00:1")
                      .aaaa("a.com", "2001:db8::1");
  CHECK(learn(v4).addresses.size() == 5);
  CHECK(learn(v6).addresses.size() == 3);
  LearnRules rules;
  rules.learn_private = false;
  CHECK(texts(learn(v4, rules)) == Texts{"172.32.0.1"});
  CHECK(learn(v4, rules).refused == only(NotLearned::kPrivate, 4));
  CHECK(texts(learn(v6, rules)) == Texts{"2001:db8::1"});
}

TEST_CASE(
    "D2: a lenient learner believes every address that was asked for, but no range the less") {
  LearnRules rules;
  rules.lenient = true;
  const auto learned = learn(Wire::response(1, "a.com", kA)
                                 .cname("a.com", "b.com")
                                 .a("c.com", {192, 0, 2, 1}, 30)
                                 .a("c.com", {127, 0, 0, 1})
                                 .aaaa("c.com", "2001:db8::1"),
                             rules);
  CHECK(texts(learned) == Texts{"192.0.2.1"});
  CHECK(learned.ttl == 30);
  Refused refused = only(NotLearned::kRange);
  refused[static_cast<std::size_t>(NotLearned::kChain)] = 1; // not of the type that was asked for
  CHECK(learned.refused == refused);
}

} // namespace
} // namespace weir::dns
