#include "proxy/tls/server_hello.h"

#include "test/unit/tls/openssl_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <span>

using weir::tls::read_server_answer;
using weir::tls::ServerAnswer;
namespace test = weir::test;

namespace {

// The answer is the same for every longer prefix, and the shorter ones ask for more.
void check_prefixes(const test::ByteVector& bytes, ServerAnswer expected) {
  ServerAnswer answer = ServerAnswer::kNeedMore;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const ServerAnswer now = read_server_answer(std::span(bytes).first(size));
    if (answer == ServerAnswer::kNeedMore) {
      answer = now;
    }
    CHECK(now == answer);
  }
  CHECK(answer == expected);
}

} // namespace

TEST_CASE("T: a ServerHello of OpenSSL is final, in TLS 1.2 and 1.3") {
  test::OpensslServer server;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    test::ClientOptions options;
    options.min_version = options.max_version = version;
    const auto reading = server.read(test::openssl_hello(options));
    REQUIRE(reading.accepted);
    check_prefixes(reading.answer, ServerAnswer::kFinal);
  }
}

TEST_CASE("T: a HelloRetryRequest of OpenSSL is seen as one") {
  test::OpensslServer server;
  server.only_groups("P-384");
  test::ClientOptions options;
  options.groups = "X25519:P-384"; // the share is for the first
  const auto reading = server.read(test::openssl_hello(options));
  REQUIRE(reading.accepted);
  check_prefixes(reading.answer, ServerAnswer::kRetry);

  SECTION("cut into several records it is refused") {
    test::ByteVector message(reading.answer.begin() + 5, reading.answer.end());
    message.resize(static_cast<std::size_t>(reading.answer[3]) << 8 | reading.answer[4]);
    check_prefixes(test::in_records(message, 60, 22, 0x0303), ServerAnswer::kNotTls);
    check_prefixes(test::in_records(message, 10, 22, 0x0303), ServerAnswer::kNotTls);
  }
  SECTION("with another message behind it in its record it is refused") {
    test::ByteVector bytes = reading.answer;
    bytes[4] = static_cast<std::uint8_t>(bytes[4] + 1);
    CHECK(read_server_answer(bytes) == ServerAnswer::kNotTls);
  }
}

TEST_CASE("T: an alert is final, anything else is not TLS") {
  check_prefixes({21, 3, 3, 0, 2, 2, 40}, ServerAnswer::kFinal);
  const std::string_view banner = "SSH-2.0-OpenSSH";
  check_prefixes({banner.begin(), banner.end()}, ServerAnswer::kNotTls);
  check_prefixes({22, 2, 0, 0, 60}, ServerAnswer::kNotTls);
  check_prefixes({23, 3, 3, 0, 60}, ServerAnswer::kNotTls);
  check_prefixes({22, 3, 3, 0, 0}, ServerAnswer::kNotTls);
  check_prefixes({22, 3, 3, 0xff, 0xff}, ServerAnswer::kNotTls);
  check_prefixes(test::in_records(test::ByteVector(80, 1), 80), ServerAnswer::kNotTls);
}
