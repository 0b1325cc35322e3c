#include "proxy/dns/message.h"

#include "test/unit/dns/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::dns {
namespace {

using test::name;
using test::Wire;

constexpr std::uint16_t kA = 1;

bool ignored(const Bytes& message) {
  const auto parsed = parse_query(message);
  return !parsed.query && !parsed.refusal;
}

std::optional<Rcode> refusal_of(const Bytes& message) {
  const auto parsed = parse_query(message);
  return parsed.query ? std::nullopt : parsed.refusal;
}

TEST_CASE("A query gives its id, its name without letter case, and its type") {
  const auto parsed = parse_query(Wire::query(0xbeef, "WwW.Example.com", kA));
  REQUIRE(parsed.query);
  CHECK(parsed.query->id == 0xbeef);
  CHECK(parsed.query->question.name == name("www.example.com"));
  CHECK(parsed.query->question.type == kA);
  CHECK(parsed.query->question.end == kHeaderSize + 17 + 4);
}

TEST_CASE("D1: a message that is an answer is no query, so that it is never answered") {
  CHECK(ignored(Wire::response(1, "example.com", kA)));
}

TEST_CASE("D5: an empty datagram, and one too short for a header, are never answered") {
  CHECK(ignored({}));
  Bytes short_of_one = Wire::query(1, "example.com", kA);
  short_of_one.resize(11);
  CHECK(ignored(short_of_one));
}

TEST_CASE("D4: no question, two questions and other classes are refused") {
  CHECK(refusal_of(Wire(1, test::kQueryFlags)) == Rcode::kRefused);
  CHECK(refusal_of(Wire::query(1, "a.com", kA).question("b.com", kA)) == Rcode::kFormErr);
  CHECK(refusal_of(Wire(1, test::kQueryFlags).question("version.bind", 16, 3)) == Rcode::kRefused);
  CHECK(refusal_of(Wire(1, test::kQueryFlags).question("a.com", kA, 255)) == Rcode::kRefused);
}

TEST_CASE("D4: zone transfers, ANY and types that no question may have are refused") {
  for (const int type : {0, 41, 251, 252, 253, 254, 255}) {
    CAPTURE(type);
    CHECK(refusal_of(Wire::query(1, "example.com", static_cast<std::uint16_t>(type))) ==
          Rcode::kRefused);
  }
}

TEST_CASE("D4: an incremental transfer is refused although it carries an authority record") {
  auto ixfr = Wire::query(1, "example.com", 251);
  ixfr.record("example.com", 6, 0, std::string(22, '\0'), 8);
  CHECK(refusal_of(ixfr) == Rcode::kRefused);
}

TEST_CASE("D4: every opcode but QUERY is not implemented") {
  for (std::uint16_t opcode = 1; opcode < 16; ++opcode) {
    CAPTURE(opcode);
    CHECK(refusal_of(Wire(1, static_cast<std::uint16_t>(opcode << 11)).question("a.com", kA)) ==
          Rcode::kNotImp);
  }
}

TEST_CASE("D5: a query may carry an OPT with unknown options, but one only, and of the root") {
  const std::string unknown("\xfd\xe9\x00\x03xyz", 7);
  CHECK(parse_query(Wire::query(1, "a.com", kA).opt(unknown)).query);
  CHECK(refusal_of(Wire::query(1, "a.com", kA).opt().opt()) == Rcode::kFormErr);
  CHECK(refusal_of(Wire::query(1, "a.com", kA).record("x", 41, 0, "", 10)) == Rcode::kFormErr);
}

TEST_CASE("D5: a query with answers, authority records or bytes left over is malformed") {
  CHECK(refusal_of(Wire::query(1, "a.com", kA).a("a.com", {192, 0, 2, 1})) == Rcode::kFormErr);
  CHECK(refusal_of(Wire::query(1, "a.com", kA).record("a.com", 2, 0, "", 8)) == Rcode::kFormErr);
  CHECK(refusal_of(Wire::query(1, "a.com", kA).raw("x")) == Rcode::kFormErr);
}

TEST_CASE("D5: a label of 63 bytes is one, of 64 it is not") {
  CHECK(parse_query(Wire::query(1, std::string(63, 'a') + ".com", kA)).query);
  CHECK(refusal_of(Wire::query(1, std::string(64, 'a') + ".com", kA)) == Rcode::kFormErr);
}

TEST_CASE("D5: a name of 255 bytes is one, of 256 it is not") {
  const std::string long_part =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".";
  CHECK(parse_query(Wire::query(1, long_part + std::string(61, 'd'), kA)).query);
  CHECK(refusal_of(Wire::query(1, long_part + std::string(62, 'd'), kA)) == Rcode::kFormErr);
}

TEST_CASE("D5: a question may not be compressed, by whatever pointer") {
  for (const auto* pointer : {"\xc0\x0c", "\xc0\x00", "\xff\xff"}) {
    auto query = Wire(1, test::kQueryFlags);
    query.count(4).raw(std::string("\x01x") + pointer).u16(1).u16(1);
    CHECK(refusal_of(query) == Rcode::kFormErr);
  }
}

TEST_CASE("D6: a dot inside a label parts nothing") {
  auto query = Wire(1, test::kQueryFlags);
  query.count(4).raw(std::string("\x08www.good\x03"
                                 "com\x00",
                                 14));
  query.u16(1).u16(1);
  const auto parsed = parse_query(query);
  REQUIRE(parsed.query);
  CHECK(parsed.query->question.name != name("www.good.com"));
  CHECK(parsed.query->question.name == name("www\\.good.com"));
}

TEST_CASE("D6: NUL, underscores and punycode in a label are bytes like others") {
  auto query = Wire(1, test::kQueryFlags);
  query.count(4).raw(std::string("\x03"
                                 "a\x00z\x00",
                                 5));
  query.u16(1).u16(1);
  const auto parsed = parse_query(query);
  REQUIRE(parsed.query);
  CHECK(parsed.query->question.name.labels().front() == std::string_view("a\0z", 3));
  CHECK(parse_query(Wire::query(1, "_sip._tcp.xn--bcher-kva.example", 33)).query);
}

TEST_CASE("A response gives its addresses and names, compressed ones resolved") {
  auto response = Wire::response(7, "www.example.com", kA);
  // www.example.com → pointer to the question; target: "cdn" + pointer to "example.com"
  response.count(6).raw("\xc0\x0c").u16(5).u16(1).u16(0).u16(60).u16(6);
  response.raw(std::string("\x03"
                           "cdn\xc0\x10",
                           6));
  response.a("cdn.example.com", {192, 0, 2, 1}, 30).aaaa("other", "2001:db8::1");
  response.record("x", 16, 5, "\x03txt");
  const auto parsed = parse_response(response);
  REQUIRE(parsed);
  REQUIRE(parsed->answers.size() == 3);
  CHECK(std::get<DnsName>(parsed->answers[0].data) == name("cdn.example.com"));
  CHECK(parsed->answers[0].owner == name("www.example.com"));
  CHECK(parsed->answers[0].ttl == 60);
  CHECK(std::get<IpAddress>(parsed->answers[1].data).to_string() == "192.0.2.1");
  CHECK(std::get<IpAddress>(parsed->answers[2].data).to_string() == "2001:db8::1");
}

TEST_CASE("D5: compression pointers to themselves, forward, and into the header are refused") {
  const Bytes head = Wire::response(7, "example.com", kA);
  const auto own = static_cast<std::uint16_t>(head.size());
  for (const int target : {int{own}, own + 2, own + 40, 0, 11, 0x3fff}) {
    CAPTURE(target);
    auto response = Wire::response(7, "example.com", kA);
    response.count(6).u16(static_cast<std::uint16_t>(0xc000 | target));
    response.u16(1).u16(1).u16(0).u16(60).u16(4).raw("\x7f\x01\x01\x01");
    CHECK_FALSE(parse_response(response));
  }
}

TEST_CASE("D5: a loop of two compression pointers is refused") {
  auto response = Wire::response(7, "example.com", kA);
  const auto first = static_cast<std::uint16_t>(response.bytes().size());
  // A TXT record's data hold a pointer to the next record's owner, which points back.
  response.record("", 16, 1, std::string(2, '\0'));
  const auto data = static_cast<std::uint16_t>(response.bytes().size() - 2);
  const auto second = static_cast<std::uint16_t>(response.bytes().size());
  response.set_u16(data, static_cast<std::uint16_t>(0xc000 | second));
  response.count(6).u16(static_cast<std::uint16_t>(0xc000 | data));
  response.u16(1).u16(1).u16(0).u16(60).u16(4).raw("abcd");
  REQUIRE(first < data);
  CHECK_FALSE(parse_response(response));
}

TEST_CASE("D5: a chain of pointers that yields no labels is bounded") {
  auto response = Wire::response(7, "example.com", kA);
  std::string pointers;
  const std::size_t base = response.bytes().size() + 11; // after the root owner and the head
  for (std::size_t i = 0; i < 200; ++i) {
    const auto target = static_cast<std::uint16_t>(i == 0 ? kHeaderSize : base + (i - 1) * 2);
    pointers.push_back(static_cast<char>(0xc0 | target >> 8));
    pointers.push_back(static_cast<char>(target & 0xff));
  }
  response.record("", 16, 1, pointers);
  const auto with_hops = [&](std::size_t hops) {
    auto copy = response;
    copy.count(6).u16(static_cast<std::uint16_t>(0xc000 | (base + (hops - 2) * 2)));
    copy.u16(1).u16(1).u16(0).u16(60).u16(4).raw("abcd");
    return parse_response(copy).has_value();
  };
  CHECK(with_hops(127));
  CHECK_FALSE(with_hops(128));
}

TEST_CASE("D5: compression cannot make a name longer than 255 bytes") {
  const std::string part = std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                           std::string(63, 'c') + "." + std::string(40, 'd');
  auto response = Wire::response(7, part, kA);
  response.count(6).raw(std::string(1, '\x3f') + std::string(63, 'e') + "\xc0\x0c");
  response.u16(1).u16(1).u16(0).u16(60).u16(4).raw("abcd");
  CHECK_FALSE(parse_response(response));
}

TEST_CASE("D5: a record whose data length lies is refused") {
  const auto with = [](std::uint16_t type, const std::string& data) {
    return parse_response(Wire::response(7, "a.com", kA).record("a.com", type, 1, data));
  };
  CHECK_FALSE(with(1, "abc"));
  CHECK_FALSE(with(1, "abcde"));
  CHECK_FALSE(with(28, std::string(15, 'x')));
  CHECK_FALSE(with(28, std::string(17, 'x')));
  CHECK_FALSE(with(5, Wire::plain("b.com") + "x"));
  CHECK_FALSE(with(5, "\x05"
                      "b"));
  CHECK_FALSE(with(5, ""));
  auto beyond = Wire::response(7, "a.com", kA).a("a.com", {192, 0, 2, 1});
  beyond.set_u16(beyond.bytes().size() - 6, 5);
  CHECK_FALSE(parse_response(beyond));
}

TEST_CASE("A DNAME's target may not be compressed") {
  auto response = Wire::response(7, "a.com", kA);
  CHECK_FALSE(parse_response(response.record("com", 39, 1, "\xc0\x0c")));
}

TEST_CASE("D5: a response cut short at any byte of its answer section is refused") {
  const Bytes whole =
      Wire::response(7, "a.com", kA).cname("a.com", "b.com").a("b.com", {192, 0, 2, 1});
  REQUIRE(parse_response(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_response(BytesView(whole).first(size)));
  }
}

TEST_CASE("D5: a query cut short at any byte is never passed on") {
  const Bytes whole = Wire::query(1, "www.example.com", kA).opt("abcd");
  REQUIRE(parse_query(whole).query);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_query(BytesView(whole).first(size)).query);
  }
}

TEST_CASE("D9: a time to live with its top bit set counts as none") {
  const auto parsed =
      parse_response(Wire::response(7, "a.com", kA).a("a.com", {192, 0, 2, 1}, 0x80000001U));
  REQUIRE(parsed);
  CHECK(parsed->answers[0].ttl == 0);
}

TEST_CASE("D1: only the same id, question, type and class make an answer to a query") {
  const Bytes query = Wire::query(7, "www.example.com", kA);
  const auto question = parse_query(query).query->question;
  const auto matches = [&](const Bytes& response) { return answers(response, query, question, 7); };
  CHECK(matches(Wire::response(7, "www.example.com", kA)));
  CHECK(matches(Wire::response(7, "wWw.eXample.COM", kA))); // 0x20
  CHECK_FALSE(matches(Wire::response(8, "www.example.com", kA)));
  CHECK_FALSE(matches(Wire::response(7, "www.example.org", kA)));
  CHECK_FALSE(matches(Wire::response(7, "www.example.com", 28)));
  CHECK_FALSE(matches(Wire(7, test::kResponseFlags).question("www.example.com", kA, 3)));
  CHECK_FALSE(matches(Wire::response(7, "www.example.com", kA).question("b.com", kA)));
  CHECK_FALSE(matches(Wire::query(7, "www.example.com", kA)));
  CHECK_FALSE(matches(Wire(7, test::kResponseFlags)));
  CHECK_FALSE(matches(Wire(7, test::kResponseFlags | 0x2000).question("www.example.com", kA)));
  CHECK_FALSE(matches({}));
}

TEST_CASE("A refusal repeats id, opcode, RD and question, and answers an OPT by a bare one") {
  const Bytes query = Wire::query(0x1234, "Www.Example.com", kA).opt("abcd");
  const Bytes refusal = make_refusal(query, Rcode::kRefused);
  auto expected = Wire(0x1234, 0x8185).question("Www.Example.com", kA).opt();
  expected.set_u16(expected.bytes().size() - 8, 1232);
  CHECK(refusal == expected.bytes());
  CHECK(message_rcode(refusal) == Rcode::kRefused);
}

TEST_CASE("A refusal of what cannot be read is a header alone") {
  auto query = Wire(9, 0x2000);
  query.count(4).raw("\x3f");
  CHECK(make_refusal(query, Rcode::kFormErr) == Wire(9, 0xa081).bytes());
}

TEST_CASE(
    "What a query says it takes over UDP is lowered, never raised, and not when it is signed") {
  const auto limited = [](const Wire& wire, std::uint16_t most) {
    Bytes bytes = wire.bytes();
    const auto parsed = parse_query(bytes);
    REQUIRE(parsed.query);
    limit_udp_payload(bytes, parsed.query->question, most);
    return bytes;
  };
  const auto query = [] { return Wire::query(7, "example.com", 1); };
  CHECK(limited(query(), 1232) == query().bytes());
  Bytes lowered = query().opt("\0\12options").bytes();
  const std::size_t payload = query().bytes().size() + 3; // root, type
  REQUIRE((lowered[payload] << 8 | lowered[payload + 1]) == 4096);
  lowered[payload] = 1232 >> 8;
  lowered[payload + 1] = 1232 & 0xff;
  CHECK(limited(query().opt("\0\12options"), 1232) == lowered);
  CHECK(limited(query().opt(), 4096) == query().opt().bytes());
  for (const std::uint16_t signature : {std::uint16_t{24}, std::uint16_t{250}}) {
    const auto is_signed = [&] { return query().opt().record("", signature, 0, "mac", 10); };
    CHECK(limited(is_signed(), 1232) == is_signed().bytes());
  }
}

TEST_CASE("A message for a stream has its length before it") {
  const Bytes message{1, 2, 3};
  CHECK(framed(message) == Bytes{0, 3, 1, 2, 3});
}

TEST_CASE("Types are named as people write them") {
  CHECK(type_text(1) == "A");
  CHECK(type_text(28) == "AAAA");
  CHECK(type_text(65) == "HTTPS");
  CHECK(type_text(4711) == "TYPE4711");
}

} // namespace
} // namespace weir::dns
