#include "proxy/http/body.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <string_view>

using namespace weir;
using Kind = http::Framing::Kind;

namespace {

struct Read {
  std::string payload, rest;
  bool done = false, failed = false;
};

// As a session reads: pieces of `piece` bytes, each in a buffer of its own.
Read read_body(const http::Framing& framing, std::string_view bytes, std::size_t piece) {
  http::BodyReader reader;
  reader.start(framing);
  Read result;
  while (!bytes.empty() && !reader.done() && !reader.failed()) {
    std::string part(bytes.substr(0, piece));
    bytes.remove_prefix(part.size());
    const auto taken = reader.take(part.data(), part.size());
    result.payload += taken.payload;
    result.rest = part.substr(taken.consumed);
  }
  result.rest += bytes;
  result.done = reader.done();
  result.failed = reader.failed();
  return result;
}

Read chunked(std::string_view bytes) {
  const http::Framing framing{Kind::kChunked, 0, false};
  const Read whole = read_body(framing, bytes, bytes.size());
  for (std::size_t piece = 1; piece < bytes.size(); ++piece) {
    const Read parts = read_body(framing, bytes, piece);
    CAPTURE(bytes, piece);
    REQUIRE(parts.done == whole.done);
    REQUIRE(parts.failed == whole.failed);
    if (whole.done) {
      REQUIRE(parts.payload == whole.payload);
      REQUIRE(parts.rest == whole.rest);
    }
  }
  return whole;
}

} // namespace

TEST_CASE("a body of known length ends where it ends") {
  const Read body = read_body({Kind::kLength, 5, false}, "helloNEXT", 3);
  CHECK(body.payload == "hello");
  CHECK(body.rest == "NEXT");
  CHECK(body.done);
  CHECK_FALSE(read_body({Kind::kLength, 5, false}, "hell", 4).done);
}

TEST_CASE("a body until close is whole when the connection ends") {
  http::BodyReader reader;
  reader.start({Kind::kUntilClose, 0, false});
  std::string bytes = "abc";
  CHECK(reader.take(bytes.data(), 3).payload == "abc");
  CHECK_FALSE(reader.done());
  CHECK(reader.whole_at_end());
  reader.start({Kind::kLength, 5, false});
  CHECK_FALSE(reader.whole_at_end());
}

TEST_CASE("chunks are joined, and what follows the last one is left alone") {
  const Read body = chunked("5\r\nhello\r\nA;name=\"v;x\"\r\n, world!!!\r\n00\r\nT: x\r\n\r\nNEXT");
  CHECK(body.done);
  CHECK(body.payload == "hello, world!!!");
  CHECK(body.rest == "NEXT");
  CHECK(chunked("0\r\n\r\n").done);
}

TEST_CASE("W3: chunks that two readers could read differently are refused") {
  for (const std::string_view bytes : {std::string_view("0x5\r\nhello\r\n0\r\n\r\n"),
                                       std::string_view("+5\r\nhello\r\n0\r\n\r\n"),
                                       std::string_view("-5\r\nhello\r\n"),
                                       std::string_view("5_0\r\n"),
                                       std::string_view(" 5\r\n"),
                                       std::string_view("5 \r\nhello\r\n"),
                                       std::string_view("\r\n"),
                                       std::string_view(";x\r\n"),
                                       std::string_view("5\nhello\r\n0\r\n\r\n"),
                                       std::string_view("5\rhello"),
                                       std::string_view("5\r\nhelloX"),
                                       std::string_view("5\r\nhello\n0\r\n\r\n"),
                                       std::string_view("5\r\nhello0\r\n\r\n"),
                                       std::string_view("5\r\nhello\r\r0\r\n"),
                                       std::string_view("10000000000000005\r\nhello"),
                                       std::string_view("ffffffffffffffff\r\n"),
                                       std::string_view("0000000000000000000005\r\n"),
                                       std::string_view("5;a\nb\r\nhello\r\n"),
                                       std::string_view("5;a\rb\r\nhello"),
                                       std::string_view("5;\x01\r\n"),
                                       std::string_view("5;\0\r\n", 5),
                                       std::string_view("0\r\n\n"),
                                       std::string_view("0\r\nX"
                                                        " : y\r\n\r\n"),
                                       std::string_view("0\r\n: y\r\n\r\n"),
                                       std::string_view("0\r\nX: y\n\r\n"),
                                       std::string_view("0\r\n X: y\r\n\r\n"),
                                       std::string_view("0\r\nGET / HTTP/1.1\r\n\r\n"),
                                       std::string_view("0\r\n\rX")}) {
    CHECK(chunked(bytes).failed);
  }
}

TEST_CASE("R: endless extensions and trailers are refused") {
  const http::Framing framing{Kind::kChunked, 0, false};
  CHECK(read_body(framing, "5;" + std::string(20000, 'a'), 1000).failed);
  CHECK(read_body(framing, "0\r\nX: " + std::string(20000, 'a'), 1000).failed);
  std::string many;
  for (int i = 0; i < 20000; ++i) {
    many += "1;a\r\nx\r\n";
  }
  CHECK(read_body(framing, many, 1000).failed);
}

TEST_CASE("W3: trailers are kept for passing on, but for those that could lead a receiver") {
  const std::string_view bytes =
      "2\r\nhi\r\n0\r\nServer-Timing: a\r\nContent-Length: 5\r\nx_weir_a: b\r\nHost: c\r\n"
      "X-Forwarded-For: d\r\nSet_Cookie: e\r\nX-Sum:\r\n\r\n";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    http::BodyReader reader;
    reader.start({Kind::kChunked, 0, false});
    for (std::string_view rest = bytes; !rest.empty();) {
      std::string part(rest.substr(0, piece));
      rest.remove_prefix(part.size());
      reader.take(part.data(), part.size());
    }
    REQUIRE(reader.done());
    REQUIRE(reader.trailers() == "Server-Timing: a\r\nX-Sum:\r\n");
  }
}
