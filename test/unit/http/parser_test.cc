#include "proxy/http/parser.h"

#include "proxy/http/ascii.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>

using namespace weir;
using http::ParseStatus;

namespace {

constexpr http::HeadLimits kLimits{1024, 256, 10};

struct Parsed {
  ParseStatus status = ParseStatus::kMore;
  int refused = 0;
  std::string reason;
  std::size_t head_size = 0;
};

// The bytes arrive in two pieces, in a buffer that moves in between; a split at every point must
// give the same result.
template <typename Parser, typename Head>
Parsed parse_split(std::string_view bytes, std::size_t split, Head& head, std::string& storage) {
  Parser parser(kLimits);
  Parsed result;
  if (split > 0) {
    const std::string first(bytes.substr(0, split));
    result.status = parser.parse(first, head);
    if (result.status == ParseStatus::kDone) {
      return {result.status, 0, "", parser.head_size()}; // views die with `first`
    }
  }
  if (result.status == ParseStatus::kMore) {
    storage.assign(bytes);
    result.status = parser.parse(storage, head);
  }
  result.refused = parser.refusal().status;
  result.reason = parser.refusal().reason;
  result.head_size = parser.head_size();
  return result;
}

Parsed request(std::string_view bytes) {
  http::RequestHead head;
  std::string storage;
  const Parsed whole = parse_split<http::RequestParser>(bytes, 0, head, storage);
  for (std::size_t split = 1; split < bytes.size(); ++split) {
    const Parsed parts = parse_split<http::RequestParser>(bytes, split, head, storage);
    CAPTURE(bytes, split);
    REQUIRE(parts.status == whole.status);
    REQUIRE(parts.refused == whole.refused);
    REQUIRE(parts.head_size == whole.head_size);
  }
  return whole;
}

Parsed response(std::string_view bytes) {
  http::ResponseHead head;
  std::string storage;
  const Parsed whole = parse_split<http::ResponseParser>(bytes, 0, head, storage);
  for (std::size_t split = 1; split < bytes.size(); ++split) {
    const Parsed parts = parse_split<http::ResponseParser>(bytes, split, head, storage);
    CAPTURE(bytes, split);
    REQUIRE(parts.status == whole.status);
    REQUIRE(parts.head_size == whole.head_size);
  }
  return whole;
}

int refused(std::string_view bytes) {
  const Parsed parsed = request(bytes);
  CAPTURE(bytes);
  CHECK(parsed.status != ParseStatus::kDone);
  return parsed.status == ParseStatus::kRefused ? parsed.refused : 0;
}

} // namespace

TEST_CASE("a request head is taken apart, and the bytes behind it are left alone") {
  const std::string bytes =
      "POST /a?b HTTP/1.1\r\nHost: shop\r\nX-A:\t one two \r\nX-B:\r\n\r\nBODY";
  http::RequestParser parser(kLimits);
  http::RequestHead head;
  REQUIRE(parser.parse(bytes, head) == ParseStatus::kDone);
  CHECK(head.method == "POST");
  CHECK(head.target == "/a?b");
  CHECK(head.version == http::Version::kHttp11);
  REQUIRE(head.headers.size() == 3);
  CHECK(head.headers[1].name == "X-A");
  CHECK(head.headers[1].value == "one two");
  CHECK(head.headers[2].value.empty());
  CHECK(bytes.substr(parser.head_size()) == "BODY");
  CHECK(request(bytes).status == ParseStatus::kDone);
}

TEST_CASE("a parser that is reset reads the next head") {
  http::RequestParser parser(kLimits);
  http::RequestHead head;
  REQUIRE(parser.parse("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", head) == ParseStatus::kDone);
  parser.reset();
  REQUIRE(parser.parse("GET /b HTTP/1.0\r\n\r\n", head) == ParseStatus::kDone);
  CHECK(head.target == "/b");
  CHECK(head.headers.empty());
  CHECK(head.version == http::Version::kHttp10);
}

TEST_CASE("one empty line before a request is skipped, more are refused") {
  CHECK(request("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").status == ParseStatus::kDone);
  CHECK(refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(refused("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
}

TEST_CASE("W4: bare line ends, folded and malformed fields are refused") {
  for (const std::string_view line : {
           std::string_view("Host: a\nX: b\r\n"),
           std::string_view("Host: a\rX: b\r\n"),
           std::string_view("Host: a\r\r\n"),
           std::string_view("Host : a\r\n"),
           std::string_view("Host\t: a\r\n"),
           std::string_view(": a\r\n"),
           std::string_view(" Host: a\r\n"),
           std::string_view("Host: a\r\n b\r\n"),
           std::string_view("Host: a\r\n\tb\r\n"),
           std::string_view("Host\r\n"),
           std::string_view("Host a\r\n"),
           std::string_view("Ho\0st: a\r\n", 11),
           std::string_view("Host: a\0b\r\n", 11),
           std::string_view("Host: a\x01\r\n"),
           std::string_view("Host: a\x7f\r\n"),
           std::string_view("H\xc3\xb6st: a\r\n"),
           std::string_view("Ho(st: a\r\n"),
           std::string_view("\"Host\": a\r\n"),
       }) {
    CHECK(refused("GET / HTTP/1.1\r\n" + std::string(line) + "\r\n") == 400);
  }
  CHECK(refused("GET / HTTP/1.1\nHost: a\n\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nHost: a\r\n\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nHost: a\r\n\rX") == 400);
}

TEST_CASE("W5: only HTTP/1.0 and HTTP/1.1 are versions") {
  for (const std::string_view version :
       {"HTTP/1.2", "HTTP/1.10", "HTTP/01.1", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1",
        "HTTP/1.", "HTTP/1.1 ", "HTTP 1.1", "ICE/1.0", "RTSP/1.0", "HTTP/1.1x", "HTTP/-1.1"}) {
    CHECK(refused("GET / " + std::string(version) + "\r\nHost: a\r\n\r\n") == 400);
  }
  CHECK(refused("GET /\r\n\r\n") == 400);
  CHECK(refused("SETUP / RTSP/1.0\r\n\r\n") == 400);
  CHECK(refused("SOURCE / ICE/1.0\r\n\r\n") == 400);
  CHECK(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 400);
  CHECK(refused("PRI * HTTP/1.1\r\n\r\n") == 400);
}

TEST_CASE("H12: every token is a method, as it was written, and nothing else is") {
  for (const std::string_view method :
       {"GET", "HEAD", "OPTIONS", "PATCH", "M-SEARCH", "CONNECT", "get", "GeT", "GETX", "G",
        "SETUP", "SOURCE", "X!#$%&'*+"}) {
    const std::string target = method == "CONNECT" ? "a:1" : "/";
    const std::string bytes = std::string(method) + " " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(request(bytes).status == ParseStatus::kDone);
    http::RequestParser parser(kLimits);
    http::RequestHead head;
    REQUIRE(parser.parse(bytes, head) == ParseStatus::kDone);
    CHECK(head.method == method);
    CHECK(head.target == target);
  }
  for (const std::string_view method :
       {"", "G ET", "GET\t", "(GET", "G\xc3\x84T", "GET:", "G,T", "{}"}) {
    CHECK(refused(std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  }
  CHECK(request(std::string(64, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n").status ==
        ParseStatus::kDone);
  CHECK(refused(std::string(65, 'A')) == 400);
}

TEST_CASE("W5: a request line is refused at its end, without waiting for what may never come") {
  CHECK(refused("GET /public\r\n") == 400);
  CHECK(refused("GET /public\n") == 400);
  CHECK(refused("GET\r\n") == 400);
  CHECK(refused("GET / HTTP/2.0\r\n") == 400);
}

TEST_CASE("the request line has exactly its two spaces") {
  for (const std::string_view line : {"GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1",
                                      "GET\t/ HTTP/1.1", "GET /a b HTTP/1.1", "GET / HTTP/1.1 x",
                                      "GET /\tHTTP/1.1", "GET HTTP/1.1", "GET  HTTP/1.1"}) {
    CHECK(refused(std::string(line) + "\r\nHost: a\r\n\r\n") == 400);
  }
}

TEST_CASE("W1 and W2: lengths and codings that llhttp itself refuses stay refused") {
  for (const std::string_view fields :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n", "Content-Length: 0x5\r\n",
        "Content-Length: 36893488147419103237\r\n", "Content-Length: 5 5\r\n"}) {
    CHECK(refused("POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n") == 400);
  }
}

TEST_CASE("bytes that are no HTTP are refused as soon as they differ from it") {
  CHECK(refused(std::string_view("\x16\x03\x01\x02\x00", 5)) == 400);
  CHECK(refused("SSH-2.0-OpenSSH_9.6\r\n") == 400);
  CHECK(refused(std::string_view("\0", 1)) == 400);
}

TEST_CASE("W6: what is too long is refused by what it is") {
  const std::string long_target(300, 'a');
  const Parsed target = request("GET /" + long_target + " HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(target.refused == 414);
  const Parsed value = request("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(1100, 'a'));
  CHECK(value.refused == 431);
  CHECK(value.reason == "head-too-long");
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 11; ++i) {
    many += "X: a\r\n";
  }
  const Parsed count = request(many + "\r\n");
  CHECK(count.refused == 431);
  CHECK(count.reason == "too-many-headers");
}

TEST_CASE("a head may be as long as the limit and not a byte longer") {
  const std::string begin = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  const auto of_size = [&](std::size_t size) {
    return begin + std::string(size - begin.size() - 4, 'a') + "\r\n\r\n";
  };
  http::RequestHead head;
  http::RequestParser fits(kLimits), exceeds(kLimits);
  CHECK(fits.parse(of_size(1024) + "BODY", head) == ParseStatus::kDone);
  CHECK(exceeds.parse(of_size(1025), head) == ParseStatus::kRefused);
}

TEST_CASE("W6: bytes beyond ASCII pass in values, as they are") {
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n";
  http::RequestParser parser(kLimits);
  http::RequestHead head;
  REQUIRE(parser.parse(bytes, head) == ParseStatus::kDone);
  CHECK(head.headers[1].value == "\xc3\xa4\xff");
  // Values are looked at in words: every byte at every place is told apart all the same.
  for (int byte = 0; byte < 256; ++byte) {
    bool same = true;
    for (std::size_t size = 1; size < 20; ++size) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, 'a');
        text[at] = static_cast<char>(byte);
        same = same && http::is_value(text) == http::is(http::kValueByte, text[at]);
      }
    }
    CHECK(same);
  }
}

TEST_CASE("a response head is taken apart") {
  const std::string bytes = "HTTP/1.1 404 Not  Found\r\nA: b\r\n\r\nBODY";
  http::ResponseParser parser(kLimits);
  http::ResponseHead head;
  REQUIRE(parser.parse(bytes, head) == ParseStatus::kDone);
  CHECK(head.status == 404);
  CHECK(head.reason == "Not  Found");
  REQUIRE(head.headers.size() == 1);
  CHECK(bytes.substr(parser.head_size()) == "BODY");
  CHECK(response(bytes).status == ParseStatus::kDone);
  CHECK(response("HTTP/1.1 200 \r\n\r\n").status == ParseStatus::kDone);
  CHECK(response("HTTP/1.1 200\r\n\r\n").status == ParseStatus::kDone);
  CHECK(response("HTTP/1.0 204 No Content\r\n\r\n").status == ParseStatus::kDone);
  CHECK(response("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nXX").status ==
        ParseStatus::kDone);
}

TEST_CASE("W12: malformed response heads are refused") {
  for (const std::string_view bytes :
       {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n", "HTTP/1.1 200 a\x01\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n"}) {
    CAPTURE(bytes);
    CHECK(response(bytes).status == ParseStatus::kRefused);
  }
}
