// weir reads the name that a real server reads, or refuses the hello: OpenSSL is the witness.
#include "proxy/tls/client_hello.h"
#include "proxy/tls/server_name.h"

#include "test/unit/tls/openssl_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>
#include <string>

using weir::tls::ClientHelloReader;
using Status = weir::tls::ClientHelloReader::Status;
namespace test = weir::test;
using test::ByteVector;

namespace {

std::vector<test::ClientOptions> clients() {
  std::vector<test::ClientOptions> all;
  for (const auto& [min, max] : {std::pair{TLS1_VERSION, TLS1_VERSION},
                                 {TLS1_1_VERSION, TLS1_1_VERSION},
                                 {TLS1_2_VERSION, TLS1_2_VERSION},
                                 {TLS1_3_VERSION, TLS1_3_VERSION},
                                 {TLS1_VERSION, TLS1_3_VERSION}}) {
    for (const char* name : {"", "www.example.com", "UPPER.Example.Org", "x"}) {
      for (const std::size_t padding : {std::size_t{0}, std::size_t{20000}}) {
        test::ClientOptions options;
        options.min_version = min;
        options.max_version = max;
        options.server_name = name;
        options.padding = padding;
        if (padding == 0) {
          options.alpn = {"h2", "http/1.1"};
        }
        all.push_back(options);
      }
    }
  }
  return all;
}

ByteVector payload_of_records(const ByteVector& bytes) {
  ByteVector payload;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t size = static_cast<std::size_t>(bytes[at + 3]) << 8 | bytes[at + 4];
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at + 5);
    payload.insert(payload.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
    at += 5 + size;
  }
  return payload;
}

std::optional<std::string> canonical(const std::optional<std::string>& name) {
  return name ? std::optional(weir::tls::canonical_server_name(*name)) : std::nullopt;
}

} // namespace

TEST_CASE("T: real hellos of every version are read as OpenSSL's server reads them") {
  test::OpensslServer server;
  for (const test::ClientOptions& options : clients()) {
    const ByteVector bytes = test::openssl_hello(options);
    ClientHelloReader reader;
    REQUIRE(reader.feed(bytes) == Status::kDone);
    CHECK(reader.hello_end() == bytes.size());
    CHECK(reader.hello().alpn == options.alpn);
    CHECK_FALSE(reader.hello().encrypted_client_hello);
    const auto reading = server.read(bytes);
    CHECK(reading.accepted);
    CHECK(reader.hello().server_name == canonical(reading.server_name));
    CHECK(reader.hello().server_name.has_value() == !options.server_name.empty());
  }
}

TEST_CASE("T8: real hellos cut into small records are read as OpenSSL's server reads them") {
  test::OpensslServer server;
  test::ClientOptions options;
  options.server_name = "cut.example";
  const ByteVector message = payload_of_records(test::openssl_hello(options));
  for (std::size_t piece = 1; piece < message.size(); piece += 1 + piece / 8) {
    const ByteVector bytes = test::in_records(message, piece);
    ClientHelloReader reader;
    REQUIRE(reader.feed(bytes) == Status::kDone);
    CHECK(reader.hello().server_name == "cut.example");
    CHECK(server.read(bytes).server_name == "cut.example");
  }
}

TEST_CASE("T: no change to a real hello makes OpenSSL accept a name that weir did not read") {
  test::OpensslServer server;
  std::mt19937 random(20261124);
  const auto below = [&](std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
  };
  std::vector<ByteVector> seeds;
  for (const test::ClientOptions& options : clients()) {
    if (options.padding == 0) {
      seeds.push_back(test::openssl_hello(options));
    }
  }
  int both_accept = 0, weir_refuses = 0;
  for (int round = 0; round < 20000; ++round) {
    ByteVector bytes = seeds[below(seeds.size())];
    if (below(4) == 0) {
      bytes = test::in_records(payload_of_records(bytes), 1 + below(bytes.size()));
    }
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size()));
      switch (below(4)) {
      case 0:
        *at = static_cast<std::uint8_t>(below(256));
        break;
      case 1:
        *at = static_cast<std::uint8_t>(*at ^ (1U << below(8)));
        break;
      case 2:
        bytes.erase(at);
        break;
      default:
        bytes.insert(at, static_cast<std::uint8_t>(below(4)));
      }
    }
    ClientHelloReader reader;
    const Status status = reader.feed(bytes);
    const auto reading = server.read(bytes);
    if (!reading.accepted) {
      continue;
    }
    // A server that answers needed no more bytes than weir.
    REQUIRE(status != Status::kNeedMore);
    if (status == Status::kRefused) {
      ++weir_refuses;
      continue;
    }
    ++both_accept;
    REQUIRE(reader.hello().server_name == canonical(reading.server_name));
  }
  // The comparison is worth something only if many changed hellos are still accepted.
  CHECK(both_accept > 2000);
  CHECK(weir_refuses < both_accept);
}
