#include "proxy/tls/client_hello.h"

#include "test/unit/tls/hello_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>

using weir::tls::Alert;
using weir::tls::ClientHello;
using weir::tls::ClientHelloReader;
using Status = weir::tls::ClientHelloReader::Status;
using Which = weir::tls::ClientHelloReader::Which;
namespace test = weir::test;
using test::ByteVector;

namespace {

Status feed_in_pieces(ClientHelloReader& reader, const ByteVector& bytes, std::size_t piece) {
  Status status = Status::kNeedMore;
  for (std::size_t at = 0; at < bytes.size() && status == Status::kNeedMore; at += piece) {
    status = reader.feed(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
  }
  return status;
}

// Read at once and byte by byte: both must come to the same hello.
ClientHello read(const ByteVector& bytes, Which which = Which::kFirst) {
  ClientHelloReader whole(which), bytewise(which);
  REQUIRE(whole.feed(bytes) == Status::kDone);
  REQUIRE(feed_in_pieces(bytewise, bytes, 1) == Status::kDone);
  CHECK(whole.hello().server_name == bytewise.hello().server_name);
  CHECK(whole.hello().alpn == bytewise.hello().alpn);
  CHECK(whole.hello_end() == bytewise.hello_end());
  CHECK(std::ranges::equal(whole.raw(), bytes));
  return whole.hello();
}

// The same, for the reason of a refusal.
std::string refusal(const ByteVector& bytes, Which which = Which::kFirst) {
  ClientHelloReader whole(which), bytewise(which);
  const Status status = whole.feed(bytes);
  CHECK(feed_in_pieces(bytewise, bytes, 1) == status);
  if (status != Status::kRefused) {
    return status == Status::kDone ? "(accepted)" : "(needs more)";
  }
  CHECK(whole.refusal().reason == bytewise.refusal().reason);
  CHECK(whole.refusal().alert == bytewise.refusal().alert);
  return std::string(whole.refusal().reason);
}

ByteVector with_extensions(std::vector<std::pair<std::uint16_t, ByteVector>> extensions) {
  test::HelloParts parts;
  parts.extensions = std::move(extensions);
  return test::in_records(test::hello_message(parts));
}

ByteVector text(std::string_view bytes) { return {bytes.begin(), bytes.end()}; }

ByteVector joined(ByteVector a, const ByteVector& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

} // namespace

TEST_CASE(
    "T2, T3, T10 and T11: names are read in lower case without their dot, beside GREASE and ECH") {
  const ClientHello hello = read(with_extensions({{0x0a0a, {}}, // GREASE
                                                  test::server_name_extension("WWW.Example.COM."),
                                                  test::alpn_extension({"h2", "http/1.1"}),
                                                  {0xfe0d, {0, 1, 2, 3}},
                                                  {0xbaba, {0}}}));
  CHECK(hello.server_name == "www.example.com");
  CHECK(hello.alpn == std::vector<std::string>{"h2", "http/1.1"});
  CHECK(hello.encrypted_client_hello);
}

TEST_CASE("T1: a hello without server name, without extensions, is a hello") {
  CHECK(read(with_extensions({})).server_name == std::nullopt);
  CHECK_FALSE(read(with_extensions({})).encrypted_client_hello);
  test::HelloParts parts;
  parts.without_extensions = true;
  CHECK(read(test::in_records(test::hello_message(parts))).server_name == std::nullopt);
}

TEST_CASE("T8: every way to cut the hello into records gives the same") {
  test::HelloParts parts;
  parts.extensions = {test::server_name_extension("shop.example")};
  const ByteVector message = test::hello_message(parts);
  for (std::size_t piece = 1; piece <= message.size(); ++piece) {
    CHECK(read(test::in_records(message, piece)).server_name == "shop.example");
  }
}

TEST_CASE("T9: a hello of more than 16 KiB is read, of more than 64 KiB refused") {
  test::HelloParts parts;
  parts.extensions = {{0xfff0, ByteVector(20000)}, test::server_name_extension("a.example")};
  CHECK(read(test::in_records(test::hello_message(parts))).server_name == "a.example");

  ByteVector message = test::hello_message(parts);
  const std::size_t overhead = message.size() - 20000;
  parts.extensions[0].second.resize(weir::tls::kMaxClientHello - overhead);
  message = test::hello_message(parts);
  REQUIRE(message.size() == weir::tls::kMaxClientHello);
  CHECK(read(test::in_records(message)).server_name == "a.example");

  SECTION("one byte too long is refused as soon as its length is known") {
    ByteVector long_header = {22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xfd};
    CHECK(refusal(long_header) == "hello-too-large");
  }
}

TEST_CASE("T: what follows the hello's record is kept, not read") {
  ByteVector bytes = test::hello_for("a.example");
  const std::size_t end = bytes.size();
  bytes = joined(bytes, {23, 3, 3, 0, 1, 0x77});
  ClientHelloReader reader;
  REQUIRE(reader.feed(bytes) == Status::kDone);
  CHECK(reader.hello_end() == end);
  CHECK(std::ranges::equal(reader.raw(), bytes));
}

TEST_CASE("T12, T13 and T14: other protocols are recognised at their first bytes") {
  CHECK(refusal(text("G")) == "not-tls"); // GET / HTTP/1.1
  CHECK(refusal({0x80}) == "sslv2-hello");
  CHECK(refusal({0x80, 0x2e, 1, 0, 2}) == "sslv2-hello");
  CHECK(refusal(text("EHLO mail.example\r\n")) == "not-tls");     // STARTTLS
  CHECK(refusal({0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}) == "not-tls"); // PostgreSQL's SSLRequest
  CHECK(refusal({21, 3, 3, 0, 2, 1, 0}) == "alert-before-hello");
  CHECK(refusal({20, 3, 3, 0, 1, 1}) == "record-type");
  CHECK(refusal({23, 3, 3, 0, 1, 1}) == "record-type");
  CHECK(refusal({22, 2}) == "record-version");
  CHECK(refusal({22, 0xfe, 0xff}) == "record-version"); // DTLS
  CHECK(refusal({22, 3, 4}) == "record-version");

  ClientHelloReader reader;
  REQUIRE(reader.feed(text("GET")) == Status::kRefused);
  CHECK(reader.refusal().alert == std::nullopt);
}

TEST_CASE("T: records that are empty, too long, too many or of another kind are refused") {
  CHECK(refusal({22, 3, 1, 0, 0}) == "empty-record");
  CHECK(refusal({22, 3, 1, 0x40, 1}) == "record-length");
  CHECK(refusal({22, 3, 1, 0x40, 0}) == "(needs more)");

  const ByteVector start = {22, 3, 1, 0, 1, 1};
  CHECK(refusal(joined(start, {22, 3, 1, 0, 0})) == "empty-record");
  CHECK(refusal(joined(start, {21, 3, 1, 0, 2, 1, 0})) == "alert-before-hello");
  CHECK(refusal(joined(start, {20, 3, 1, 0, 1, 1})) == "record-type");
  CHECK(refusal(joined(start, {23, 3, 1, 0, 1, 1})) == "record-type");
  CHECK(refusal(joined(start, text("GET /"))) == "record-type");

  test::HelloParts parts;
  parts.extensions = {{0xfff0, ByteVector(weir::tls::kMaxHelloRecords)}};
  CHECK(refusal(test::in_records(test::hello_message(parts), 1)) == "too-many-records");
}

TEST_CASE("T: another handshake message, or one behind the hello in its record, is refused") {
  CHECK(refusal({22, 3, 1, 0, 4, 2}) == "handshake-type");
  test::HelloParts parts;
  parts.extensions = {test::server_name_extension("a.example")};
  const ByteVector message = test::hello_message(parts);
  CHECK(refusal(test::in_records(joined(message, {1}))) == "bytes-after-hello");
  CHECK(refusal(test::in_records(joined(message, message))) == "bytes-after-hello");
}

TEST_CASE("T5: a server name extension that two readers could take for two names is refused") {
  const auto extension = test::server_name_extension("a.example");
  const auto other = test::server_name_extension("b.example");
  CHECK(refusal(with_extensions({extension, other})) == "sni-two-names");
  CHECK(refusal(with_extensions({extension, extension})) == "sni-two-names");
  CHECK(refusal(with_extensions({{0x0a0a, {}}, {0x0a0a, {}}})) == "duplicate-extension");
  CHECK(refusal(with_extensions({test::server_name_list({{0, "a.example"}, {0, "b.example"}})})) ==
        "sni-two-names");
  CHECK(refusal(with_extensions({test::server_name_list({{1, "a.example"}})})) == "sni-name-type");
  CHECK(refusal(with_extensions({test::server_name_list({{0, "a.example"}, {1, "x"}})})) ==
        "sni-two-names");
}

TEST_CASE("T: a malformed server name extension is refused") {
  CHECK(refusal(with_extensions({{0, {}}})) == "sni-malformed");
  CHECK(refusal(with_extensions({{0, {0, 0}}})) == "sni-malformed");
  CHECK(refusal(with_extensions({{0, {0, 1, 0}}})) == "sni-malformed");
  CHECK(refusal(with_extensions({{0, {0, 4, 0, 0, 2, 'a'}}})) == "sni-malformed");
  CHECK(refusal(with_extensions({{0, {0, 4, 0, 0, 1, 'a', 'b'}}})) == "sni-malformed");
  CHECK(refusal(with_extensions({{0, {0, 3, 0, 0, 0}}})) == "sni-empty");
}

TEST_CASE("T4 and T6: a server name that is no host name is refused") {
  using namespace std::string_literals;
  CHECK(refusal(test::hello_for("192.0.2.1")) == "sni-ip-literal");
  CHECK(refusal(test::hello_for("a.example\0.evil.example"s)) == "sni-bad-character");
  CHECK(refusal(test::hello_for(std::string(256, 'a'))) == "sni-too-long");
  ClientHelloReader reader;
  REQUIRE(reader.feed(test::hello_for("192.0.2.1")) == Status::kRefused);
  CHECK(reader.refusal().alert == Alert::kUnrecognizedName);
}

TEST_CASE("T: a malformed body is refused") {
  const auto refused = [](auto change) {
    test::HelloParts parts;
    parts.extensions = {test::server_name_extension("a.example")};
    change(parts);
    return refusal(test::in_records(test::hello_message(parts)));
  };
  CHECK(refused([](auto& parts) { parts.version = 0x0300; }) == "hello-version");
  CHECK(refused([](auto& parts) { parts.version = 0x0200; }) == "hello-version");
  CHECK(refused([](auto& parts) { parts.version = 0xfefd; }) == "hello-version");
  CHECK(refused([](auto& parts) { parts.session_id.resize(33); }) == "hello-malformed");
  CHECK(refused([](auto& parts) { parts.cipher_suites.clear(); }) == "hello-malformed");
  CHECK(refused([](auto& parts) { parts.cipher_suites.resize(3); }) == "hello-malformed");
  CHECK(refused([](auto& parts) { parts.compression.clear(); }) == "hello-malformed");
  CHECK(refused([](auto& parts) { parts.after_extensions = {0}; }) == "hello-malformed");
  CHECK(refused([](auto& parts) { parts.extensions = {{16, {0, 3, 2, 'h', '2', 0}}}; }) ==
        "alpn-malformed");
  CHECK(refused([](auto& parts) { parts.extensions = {{16, {0, 0}}}; }) == "alpn-malformed");
  CHECK(refused([](auto& parts) {
          for (std::uint16_t i = 0; i < 128; ++i) {
            parts.extensions.emplace_back(static_cast<std::uint16_t>(0x4000 + i), ByteVector{});
          }
        }) == "too-many-extensions");

  SECTION("cut short at any place within its own length") {
    test::HelloParts parts;
    parts.extensions = {test::server_name_extension("a.example"), test::alpn_extension({"h2"})};
    const ByteVector message = test::hello_message(parts);
    std::size_t accepted = 0;
    for (std::size_t size = 4; size < message.size(); ++size) {
      ByteVector cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
      cut[2] = static_cast<std::uint8_t>((size - 4) >> 8);
      cut[3] = static_cast<std::uint8_t>(size - 4);
      accepted += refusal(test::in_records(cut)) == "(accepted)" ? 1 : 0;
    }
    CHECK(accepted == 1); // the cut before the extensions: a hello without any
  }
}

TEST_CASE("T: before the second hello there may be a change of cipher and early data") {
  const ByteVector hello = test::hello_for("b.example");
  const ByteVector before = {20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 3, 9, 9, 9};
  CHECK(read(hello, Which::kSecond).server_name == "b.example");
  CHECK(read(joined(before, hello), Which::kSecond).server_name == "b.example");
  CHECK(refusal(joined(before, {21, 3, 3, 0, 2, 2, 40}), Which::kSecond) == "alert-before-hello");
  CHECK(refusal(joined({22, 3, 3, 0, 1, 1}, before), Which::kSecond) == "record-type");

  SECTION("but no more than a bound") {
    ClientHelloReader reader(Which::kSecond);
    const ByteVector record = test::in_records(ByteVector(16384), 16384, 23, 0x0303);
    Status status = Status::kNeedMore;
    int fed = 0;
    for (; fed < 10 && status == Status::kNeedMore; ++fed) {
      status = reader.feed(record);
    }
    CHECK(status == Status::kRefused);
    CHECK(fed == static_cast<int>(weir::tls::kMaxHeldHello / record.size()) + 1);
    CHECK(reader.refusal().reason == "hello-too-large");
  }
}
