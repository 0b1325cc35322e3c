#include "proxy/http/framing.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using Kind = http::Framing::Kind;

namespace {

struct Examined {
  http::RequestFacts facts;
  int refused = 0;
};
Examined request(std::vector<http::Header> headers,
                 http::Version version = http::Version::kHttp11) {
  http::RequestHead head{"POST", "/", version, std::move(headers)};
  Examined result;
  result.refused = http::examine(head, result.facts).status;
  return result;
}

struct ExaminedResponse {
  http::ResponseFacts facts;
  int refused = 0;
};
ExaminedResponse response(int status, std::vector<http::Header> headers, bool to_head = false,
                          http::Version version = http::Version::kHttp11) {
  http::ResponseHead head{status, "", version, std::move(headers)};
  ExaminedResponse result;
  result.refused = http::examine(head, to_head, result.facts).status;
  return result;
}

std::string names(const std::vector<http::Header>& fields) {
  std::string all;
  for (const http::Header& field : fields) {
    all.append(field.name).append(" ");
  }
  return all;
}

} // namespace

TEST_CASE("W1: a request's length is one number or the request is refused") {
  CHECK(request({{"Content-Length", "5"}}).facts.body.length == 5);
  CHECK(request({{"Content-Length", "0"}}).facts.body.kind == Kind::kNone);
  CHECK(request({{"Content-Length", "0"}}).facts.body.explicit_zero);
  CHECK(request({{"content-length", "007"}}).facts.body.length == 7);
  CHECK(request({}).facts.body.kind == Kind::kNone);
  for (const std::string_view value :
       {"", "+5", "-0", "-5", "0x5", "5_0", "5 5", "5,5", "5, 5", "5.0", "1e3", "٥",
        "18446744073709551621", "9999999999999999999"}) {
    CAPTURE(value);
    CHECK(request({{"Content-Length", value}}).refused == 400);
  }
  CHECK(request({{"Content-Length", "5"}, {"Content-Length", "5"}}).refused == 400);
  CHECK(request({{"Content-Length", "5"}, {"content-length", "6"}}).refused == 400);
  CHECK(request({{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}).refused == 400);
  CHECK(request({{"Transfer-Encoding", "chunked"}, {"Content-Length", "0"}}).refused == 400);
}

TEST_CASE("W2: the only transfer coding is chunked, once, and not in HTTP/1.0") {
  CHECK(request({{"Transfer-Encoding", "chunked"}}).facts.body.kind == Kind::kChunked);
  CHECK(request({{"transfer-encoding", "Chunked"}}).facts.body.kind == Kind::kChunked);
  for (const std::string_view value :
       {"", "chunked, chunked", ",chunked", "chunked,", "xchunked", "chunkedx", "identity", "gzip",
        "gzip, chunked", "chunked;q=1", "\"chunked\""}) {
    CAPTURE(value);
    CHECK(request({{"Transfer-Encoding", value}}).refused == 400);
  }
  CHECK(request({{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}).refused ==
        400);
  CHECK(request({{"Transfer-Encoding", "chunked"}}, http::Version::kHttp10).refused == 400);
}

TEST_CASE("connections last by version and by what Connection says") {
  CHECK(request({}).facts.keep_alive);
  CHECK_FALSE(request({{"Connection", "foo, Close"}}).facts.keep_alive);
  CHECK_FALSE(request({}, http::Version::kHttp10).facts.keep_alive);
  CHECK(request({{"Connection", "keep-alive"}}, http::Version::kHttp10).facts.keep_alive);
  CHECK_FALSE(
      request({{"Connection", "keep-alive, close"}}, http::Version::kHttp10).facts.keep_alive);
}

TEST_CASE("W13: hop-by-hop fields, those named by Connection and weir's own are left out") {
  const Examined examined = request({{"Host", "a"},
                                     {"Connection", "X-Secret, close"},
                                     {"x-secret", "1"},
                                     {"Keep-Alive", "5"},
                                     {"Proxy-Connection", "x"},
                                     {"TE", "trailers"},
                                     {"Trailer", "x"},
                                     {"Upgrade", "x"},
                                     {"HTTP2-Settings", "x"},
                                     {"Content-Length", "1"},
                                     {"X-Weir-Denied-By", "x"},
                                     {"x_weir_identity", "x"},
                                     {"X-Envoy-Original-Path", "x"},
                                     {"X-Weird", "kept"},
                                     {"Content_Length", "x"},
                                     {"transfer_encoding", "chunked"},
                                     {"Content_Type", "kept"},
                                     {"X-Forwarded-For", "x"},
                                     {"x_forwarded_proto", "x"},
                                     {"FORWARDED", "for=x"},
                                     {"X-Forwarded", "kept"},
                                     {"Cookie", "kept"}});
  CHECK(names(examined.facts.fields) == "X-Weird Content_Type X-Forwarded Cookie ");
  CHECK(examined.facts.takes_trailers);
}

TEST_CASE("W13: what clients claim about earlier connections is kept where it is wanted") {
  http::RequestHead head;
  head.headers = {{"Host", "a"}, {"X-Forwarded-For", "1.2.3.4"}, {"Forwarded", "for=x"}};
  http::RequestFacts facts;
  REQUIRE_FALSE(http::examine(head, facts, true));
  CHECK(names(facts.fields) == "X-Forwarded-For Forwarded ");
}

TEST_CASE("W10: Expect is 100-continue or refused, and means something only with a body") {
  CHECK(request({{"Expect", "100-Continue"}, {"Content-Length", "5"}}).facts.expects_continue);
  CHECK_FALSE(request({{"Expect", "100-continue"}}).facts.expects_continue);
  CHECK(request({{"Expect", "200-ok"}, {"Content-Length", "5"}}).refused == 417);
}

TEST_CASE("W9: an upgrade is one token that is neither HTTP nor TLS, without a body") {
  const auto upgrade = [](std::string_view token, std::string_view connection = "upgrade") {
    return std::string(request({{"Connection", connection}, {"Upgrade", token}}).facts.upgrade);
  };
  CHECK(upgrade("websocket") == "websocket");
  CHECK(upgrade("websocket", "keep-alive, Upgrade") == "websocket");
  CHECK(upgrade("websocket", "keep-alive") == "");
  for (const std::string_view token :
       {"h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.0", "websocket, h2c", "h2c, websocket", "", "a b"}) {
    CAPTURE(token);
    CHECK(upgrade(token) == "");
  }
  CHECK(request({{"Connection", "upgrade"}, {"Upgrade", "websocket"}, {"Content-Length", "5"}})
            .facts.upgrade.empty());
}

TEST_CASE("W12: a response's length is clear or the response is refused") {
  CHECK(response(200, {{"Content-Length", "5"}}).facts.body.length == 5);
  CHECK(response(200, {{"Transfer-Encoding", "chunked"}}).facts.body.kind == Kind::kChunked);
  CHECK(response(200, {}).facts.body.kind == Kind::kUntilClose);
  CHECK_FALSE(response(200, {}).facts.keep_alive);
  CHECK(response(200, {{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}).refused == 502);
  CHECK(response(200, {{"Content-Length", "5"}, {"Content-Length", "5"}}).refused == 502);
  CHECK(response(200, {{"Content-Length", "x"}}).refused == 502);
  CHECK(response(200, {{"Transfer-Encoding", "gzip, chunked"}}).refused == 502);
  CHECK(response(200, {{"Transfer-Encoding", "chunked"}}, false, http::Version::kHttp10).refused ==
        502);
}

TEST_CASE("W12: answers to HEAD and 1xx, 204, 304 have no body, whatever they say") {
  CHECK(response(200, {{"Content-Length", "5"}}, true).facts.body.kind == Kind::kNone);
  CHECK(response(200, {{"Content-Length", "5"}}, true).facts.described_length == 5);
  CHECK(response(200, {{"Transfer-Encoding", "chunked"}}, true).facts.body.kind == Kind::kNone);
  CHECK(response(304, {{"Content-Length", "5"}}).facts.described_length == 5);
  CHECK(response(204, {{"Content-Length", "5"}}).facts.body.kind == Kind::kNone);
  CHECK_FALSE(response(204, {{"Content-Length", "5"}}).facts.described_length);
  CHECK(response(103, {}).facts.body.kind == Kind::kNone);
}
