#include "proxy/http/serializer.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace weir;
using Kind = http::Framing::Kind;

TEST_CASE("a request head is written with the canonical target and one framing") {
  http::RequestHead head{"POST", "/a/../b", http::Version::kHttp10, {}};
  http::RequestFacts facts;
  facts.body = {Kind::kLength, 12, false};
  facts.expects_continue = true;
  facts.fields = {{"X-A", "1"}, {"X-Empty", ""}};
  std::string out;
  http::write_request_head(head, {"/b", "shop"}, facts, facts.fields, out);
  CHECK(out == "POST /b HTTP/1.1\r\nHost: shop\r\nX-A: 1\r\nX-Empty: \r\n"
               "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
  out.clear();
  facts = {};
  facts.upgrade = "websocket";
  http::write_request_head(head, {"/b", "shop"}, facts, facts.fields, out);
  CHECK(out ==
        "POST /b HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST_CASE("a response head is written with the framing that the client is to see") {
  http::ResponseHead head{200, "Fine", http::Version::kHttp11, {}};
  http::ResponseFacts facts;
  facts.fields = {{"A", "b"}};
  std::string out;
  http::write_response_head(head, facts, {Kind::kChunked, 0, false}, http::ConnectionField::kNone,
                            out);
  CHECK(out == "HTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
  out.clear();
  http::write_response_head(head, facts, {Kind::kUntilClose, 0, false},
                            http::ConnectionField::kClose, out);
  CHECK(out == "HTTP/1.1 200 Fine\r\nA: b\r\nConnection: close\r\n\r\n");
  out.clear();
  facts.described_length = 7;
  http::write_response_head(head, facts, {}, http::ConnectionField::kKeepAlive, out);
  CHECK(out == "HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n");
}

TEST_CASE("a denial names its policy and has the fixed body") {
  std::string out;
  http::write_own_answer({.status = 403, .denied_by = "shop/api"}, out);
  CHECK(out == "HTTP/1.1 403 Forbidden\r\nServer: weir\r\nContent-Type: text/plain\r\n"
               "x-weir-denied-by: shop/api\r\nContent-Length: 15\r\n\r\nAccess denied\r\n");
  out.clear();
  http::write_own_answer({.status = 403,
                          .denied_by = "default-deny",
                          .connection = http::ConnectionField::kClose,
                          .to_head = true},
                         out);
  CHECK(out.ends_with("Content-Length: 15\r\nConnection: close\r\n\r\n"));
}

TEST_CASE("a chunk's line is its size in hexadecimal") {
  http::ChunkLine line;
  CHECK(line.format(1) == "1\r\n");
  CHECK(line.format(65536) == "10000\r\n");
}
