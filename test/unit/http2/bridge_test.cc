#include "test/unit/http2/bridge_fixture.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::test;
using http2::ErrorCode;
using http2::FrameType;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr int code(ErrorCode error) { return static_cast<int>(error); }

const Frame& last_head(const FrameReader& reader) {
  const Frame* last = nullptr;
  for (const Frame& each : reader.frames()) {
    last = each.type == FrameType::kHeaders ? &each : last;
  }
  REQUIRE(last != nullptr);
  return *last;
}

Pairs answer(std::string status = "200", Pairs more = {}) {
  Pairs fields = {{":status", std::move(status)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

} // namespace

TEST_CASE("An allowed request goes to the server in canonical form and its answer comes back") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/a/./b//c?x=%41", {{"accept", "*/*"}}), true));
  REQUIRE(f.servers.size() == 1);
  f.connect();

  const Frame* head = f.to_server().find(FrameType::kHeaders, 1);
  REQUIRE(head != nullptr);
  CHECK(head->fields == Pairs{{":method", "GET"},
                              {":scheme", "http"},
                              {":authority", "shop.test"},
                              {":path", "/a/b/c?x=%41"},
                              {"accept", "*/*"}});
  CHECK(head->has(http2::kFlagEndStream));
  CHECK(f.judge.seen == std::vector<std::string>{"GET shop.test/a/b/c?x=%41"});

  f.server(headers(1, answer("200", {{"content-type", "text/plain"}}), false) +
           data(1, "hello", true));
  const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
  REQUIRE(reply != nullptr);
  CHECK(reply->field(":status") == "200");
  CHECK(f.to_client.body(1) == "hello");
  CHECK(f.to_client.ended(1));
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kAllowed);
  CHECK(f.log.lines[0].status == 200);
  CHECK(f.log.lines[0].bytes_out == 5);
  CHECK(f.bridge->idle());
}

TEST_CASE("X10: A denied stream gets a 403 with the policy's name and never reaches the server") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/admin"), true));
  CHECK(f.servers.empty());
  const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
  REQUIRE(reply != nullptr);
  CHECK(reply->field(":status") == "403");
  CHECK(reply->field("x-weir-denied-by") == "shop/api");
  CHECK(f.to_client.body(1) == "Access denied\r\n");
  CHECK(f.to_client.ended(1));
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kDenied);
  CHECK(f.log.lines[0].denied_by == "shop/api");
  CHECK(f.log.lines[0].reason == "path");
}

TEST_CASE("X10: gRPC learns of a denial in a head that is its trailers, with grpc-status 7") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1,
                   request("POST", "/admin.Users/Delete",
                           {{"content-type", "application/grpc+proto"}, {"te", "trailers"}}),
                   false) +
           data(1, std::string(5, '\0'), true));
  CHECK(f.servers.empty());
  const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
  REQUIRE(reply != nullptr);
  CHECK(reply->field(":status") == "200");
  CHECK(reply->field("content-type") == "application/grpc");
  CHECK(reply->field("grpc-status") == "7");
  CHECK(reply->field("grpc-message") == "Access denied");
  CHECK(reply->field("x-weir-denied-by") == "shop/api");
  CHECK(reply->has(http2::kFlagEndStream));
  CHECK(f.to_client.count(FrameType::kData) == 0);
}

TEST_CASE("X10: gRPC calls are judged by their exact path, and te: trailers is passed on") {
  BridgeFixture f;
  f.judge.allows = [](const policy::HttpRequest& r) { return r.path == "/pkg.Svc/Method"; };
  f.open_client();
  const Pairs grpc = {{"content-type", "application/grpc"}, {"te", "trailers"}};
  f.client(headers(1, request("POST", "/pkg.Svc/Method", grpc), true) +
           headers(3, request("POST", "/pkg.Svc/method", grpc), true) +
           headers(5, request("POST", "/pkg.Svc/Method2", grpc), true));
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->field("te") == "trailers");
  CHECK(f.to_server().count(FrameType::kHeaders) == 1);
  CHECK(f.to_client.find(FrameType::kHeaders, 3)->field("grpc-status") == "7");
  CHECK(f.to_client.find(FrameType::kHeaders, 5)->field("grpc-status") == "7");

  f.server(headers(1, answer("200", {{"content-type", "application/grpc"}}), false) +
           data(1, "12345", false) + headers(1, {{"grpc-status", "0"}}, true));
  CHECK(f.to_client.body(1) == "12345");
  CHECK(last_head(f.to_client).field("grpc-status") == "0");
  CHECK(last_head(f.to_client).has(http2::kFlagEndStream));
}

TEST_CASE("Each stream of a connection is judged on its own") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/a"), true) + headers(3, request("GET", "/admin"), true) +
           headers(5, request("GET", "/b"), true));
  f.connect();
  CHECK(f.to_server().count(FrameType::kHeaders) == 2);
  CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "403");
  f.server(headers(1, answer(), true) + headers(3, answer("204"), true));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "200");
  CHECK(f.to_client.find(FrameType::kHeaders, 5)->field(":status") == "204");
}

TEST_CASE("Nothing but preface and SETTINGS is sent before the server has shown HTTP/2") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/a"), false) +
           data(1, "GET /admin HTTP/1.1\r\nHost: shop.test\r\n\r\n", true));
  f.servers[0]->upstream->connected(f.now);
  f.flow();
  for (const Frame& each : f.to_server().frames()) {
    CHECK((each.type == FrameType::kSettings || each.type == FrameType::kWindowUpdate));
  }
  SECTION("an HTTP/1 server's answer ends it with 502") {
    f.server("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "502");
    REQUIRE(f.log.lines.size() == 1);
    CHECK(f.log.lines[0].reason == "upstream-not-http2");
    CHECK(f.servers[0]->closed);
  }
  SECTION("silence ends it with 502") {
    f.pass(seconds(6));
    CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "502");
  }
  CHECK(f.to_server().count(FrameType::kHeaders) == 0);
  CHECK(f.to_server().count(FrameType::kData) == 0);
}

TEST_CASE("A server that is not reached gives 503, and the next stream tries again") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.lose_server(503, "upstream-refused");
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "503");
  CHECK(f.log.lines.at(0).reason == "upstream-refused");
  f.client(headers(3, request(), true));
  REQUIRE(f.servers.size() == 2);
  f.connect(1);
  f.server(headers(1, answer(), true), 1);
  CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "200");
}

TEST_CASE("gRPC learns of a missing server with grpc-status 14") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/a.B/C", {{"content-type", "application/grpc"}}), true));
  f.lose_server(503, "upstream-refused");
  const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
  CHECK(reply->field(":status") == "200");
  CHECK(reply->field("grpc-status") == "14");
}

TEST_CASE("When the server's connection is lost, begun answers are reset and the others get 502") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true) + headers(3, request(), true));
  f.connect();
  f.server(headers(1, answer(), false) + data(1, "half", false));
  f.lose_server(502, "upstream-closed");
  CHECK(f.to_client.body(1) == "half");
  CHECK_FALSE(f.to_client.ended(1));
  CHECK(f.to_client.reset_code(1) == code(ErrorCode::kInternalError));
  CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "502");
  CHECK(f.bridge->idle());
}

TEST_CASE("A whole answer is delivered though the server's connection is lost behind it") {
  BridgeFixture f;
  f.open_client({{4, 10}}); // the client's windows hold ten bytes
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, answer(), false) + data(1, "0123456789abcdef", true));
  f.lose_server(502, "upstream-closed");
  CHECK(f.to_client.body(1) == "0123456789");
  f.client(window_update(1, 100));
  CHECK(f.to_client.body(1) == "0123456789abcdef");
  CHECK(f.to_client.ended(1));
}

TEST_CASE("A server that takes a request and never answers gives 504") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true) + headers(3, request("POST"), false) +
           headers(5, request(), true) + headers(7, request(), true));
  f.connect();
  f.server(headers(5, answer(), false)); // has begun, and may take its time
  f.pass(milliseconds(250));
  f.pass(seconds(299));
  f.server(headers(7, answer("103"), false)); // a sign of life
  CHECK(f.to_client.find(FrameType::kHeaders, 1) == nullptr);
  f.pass(seconds(2));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "504");
  CHECK(f.to_server().reset_code(1) == code(ErrorCode::kCancel));
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].reason == "upstream-timeout");
  CHECK(f.to_client.find(FrameType::kHeaders, 3) == nullptr); // the client is not ready itself
  CHECK(f.to_client.reset_code(5) == -1);
  f.client(data(3, "body", true));
  f.pass(milliseconds(250));
  f.pass(seconds(301));
  CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "504");
  CHECK(last_head(f.to_client).field(":status") == "504");
  CHECK(f.log.lines.size() == 3);
  CHECK(f.to_client.reset_code(5) == -1);
}

TEST_CASE("Resets are passed on in both directions") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false) + headers(3, request("POST"), false));
  f.connect();
  SECTION("from the client") {
    f.client(rst_stream(1, ErrorCode::kCancel));
    CHECK(f.to_server().reset_code(1) == code(ErrorCode::kCancel));
    CHECK(f.to_server().reset_code(3) == -1);
    CHECK(f.log.lines.at(0).reason == "client-reset");
  }
  SECTION("from the server") {
    f.server(rst_stream(3, ErrorCode::kRefusedStream));
    CHECK(f.to_client.reset_code(3) == code(ErrorCode::kRefusedStream));
    CHECK(f.to_client.reset_code(1) == -1);
    CHECK(f.log.lines.at(0).reason == "upstream-reset");
  }
  SECTION("an error of the server's connection is none of the client's") {
    f.server(rst_stream(1, ErrorCode::kFlowControlError));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kInternalError));
  }
  SECTION("without error after an early answer: the client is told to stop") {
    f.server(headers(1, answer("413"), true) + rst_stream(1, ErrorCode::kNoError));
    CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "413");
    CHECK(f.to_client.ended(1));
    CHECK(f.to_client.reset_code(1) == -1); // not at once: curl would take it for an error
    f.pass(std::chrono::milliseconds(1));
    f.pass(http2::kDiscardTime + std::chrono::milliseconds(1));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kNoError));
    CHECK(f.log.lines.at(0).verdict == AccessVerdict::kAllowed);
  }
  SECTION("without error before the answer's end: it must not look complete") {
    f.server(headers(1, answer(), false) + data(1, "part", false) +
             rst_stream(1, ErrorCode::kNoError));
    CHECK_FALSE(f.to_client.ended(1));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kInternalError));
  }
}

TEST_CASE("A client that vanishes in the middle of a body resets the stream at the server") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false) + data(1, "half of it", false));
  f.connect();
  CHECK(f.to_server().body(1) == "half of it");
  f.bridge->abandon();
  std::string out;
  f.servers[0]->upstream->connection().produce(out, 1000);
  f.to_server().add(out);
  CHECK_FALSE(f.to_server().ended(1));
  CHECK(f.to_server().reset_code(1) == code(ErrorCode::kCancel));
}

TEST_CASE("A reset that comes before the request was sent leaves nothing for the server") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true) + rst_stream(1, ErrorCode::kCancel) +
           headers(3, request("GET", "/b"), true));
  f.connect();
  CHECK(f.to_server().count(FrameType::kHeaders) == 1);
  CHECK(last_head(f.to_server()).field(":path") == "/b");
}

TEST_CASE("Bodies wait for the server's window, and the client's window for the body") {
  session::Http2Bridge::Options options;
  options.limits.stream_window = 1000;
  options.limits.connection_window = 65535;
  BridgeFixture f(options);
  f.open_client();
  f.client(headers(1, request("POST"), false));
  f.connect(0, {{4, 10}}); // the server's window for a stream: ten bytes
  f.client(data(1, std::string(900, 'x'), false));
  CHECK(f.to_server().body(1).size() == 10);
  // Nothing was given back to the client for what is still held.
  CHECK(f.to_client.find(FrameType::kWindowUpdate, 1) == nullptr);
  f.server(window_update(1, 890));
  CHECK(f.to_server().body(1).size() == 900);
  REQUIRE(f.to_client.find(FrameType::kWindowUpdate, 1) != nullptr);
  CHECK(f.to_client.find(FrameType::kWindowUpdate, 1)->word(0) == 900);
}

TEST_CASE("A client that sends beyond its window is reset") {
  session::Http2Bridge::Options options;
  options.limits.stream_window = 1000;
  BridgeFixture f(options);
  f.open_client();
  f.client(headers(1, request("POST"), false) + data(1, std::string(1001, 'x'), false));
  CHECK((f.to_client.reset_code(1) == code(ErrorCode::kFlowControlError) ||
         f.to_client.goaway_code() == code(ErrorCode::kFlowControlError)));
}

TEST_CASE("Answers wait for the client's window, and the server's window for the answer") {
  session::Http2Bridge::Options options;
  options.limits.stream_window = 1000;
  options.limits.connection_window = 65535;
  BridgeFixture f(options);
  f.open_client({{4, 10}});
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, answer(), false) + data(1, std::string(900, 'y'), false));
  CHECK(f.to_client.body(1).size() == 10);
  CHECK(f.to_server().find(FrameType::kWindowUpdate, 1) == nullptr);
  f.client(window_update(1, 1000));
  CHECK(f.to_client.body(1).size() == 900);
  REQUIRE(f.to_server().find(FrameType::kWindowUpdate, 1) != nullptr);
  CHECK(f.to_server().find(FrameType::kWindowUpdate, 1)->word(0) == 900);
}

TEST_CASE("What a reset stream had under way does not eat the connection's window") {
  session::Http2Bridge::Options options;
  options.limits.stream_window = 65535;
  options.limits.connection_window = 65535;
  BridgeFixture f(options);
  f.open_client({{4, 0}});
  f.client(headers(1, request(), true));
  f.connect();
  for (std::uint32_t stream = 1; stream < 40; stream += 2) {
    f.server(headers(stream, answer(), false) + data(stream, std::string(16000, 'y'), false));
    f.client(rst_stream(stream, ErrorCode::kCancel));
    f.client(headers(stream + 2, request(), true));
  }
  std::uint32_t given_back = 0;
  for (const Frame& each : f.to_server().frames()) {
    if (each.type == FrameType::kWindowUpdate && each.stream == 0) {
      given_back += each.word(0);
    }
  }
  CHECK(given_back >= 20 * 16000 - 65535);
}

TEST_CASE("Whole answers give the server's connection its window back once they are delivered") {
  session::Http2Bridge::Options options;
  options.limits.connection_window = 65535;
  BridgeFixture f(options);
  f.open_client();
  const auto given_back = [&] {
    std::uint32_t sum = 0;
    for (const Frame& each : f.to_server().frames()) {
      if (each.type == FrameType::kWindowUpdate && each.stream == 0) {
        sum += each.word(0);
      }
    }
    return sum;
  };
  for (std::uint32_t i = 0; i < 20; ++i) {
    f.client(headers(1 + 2 * i, request(), true));
    if (i == 0) {
      f.connect();
    }
    f.server(headers(1 + 2 * i, answer(), false) + data(1 + 2 * i, std::string(6000, 'y'), true));
    f.client(window_update(0, 6000));
    CHECK(f.to_client.ended(1 + 2 * i));
  }
  CHECK(given_back() >= 20 * 6000 - 65535 / 2);

  // Not delivered: not given back, whether the server's stream is closed or not.
  f.client(headers(41, request(), true) + settings({{4, 0}}) + headers(43, request(), true));
  const std::uint32_t before = given_back();
  for (const std::uint32_t stream : {41u, 43u}) {
    f.server(headers(stream, answer(), false) + data(stream, std::string(16000, 'y'), true));
  }
  CHECK(given_back() == before);
  f.client(rst_stream(41, ErrorCode::kCancel) + rst_stream(43, ErrorCode::kCancel));
  CHECK(given_back() >= before + 16000);
  CHECK(f.bridge->idle());
}

TEST_CASE("Trailers pass in both directions, without what could change the head") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false) + data(1, "body", false) +
           headers(1,
                   {{"x-checksum", "1"},
                    {"x-weir-denied-by", "me"},
                    {"authorization", "x"},
                    {"cookie", "a=b"}},
                   true));
  f.connect();
  CHECK(last_head(f.to_server()).fields == Pairs{{"x-checksum", "1"}});
  CHECK(last_head(f.to_server()).has(http2::kFlagEndStream));
  f.server(headers(1, answer(), false) + headers(1, {{"grpc-status", "0"}}, true));
  CHECK(last_head(f.to_client).fields == Pairs{{"grpc-status", "0"}});
  CHECK(last_head(f.to_client).has(http2::kFlagEndStream));
  CHECK(f.to_client.count(FrameType::kData) == 0);
}

TEST_CASE(
    "X8: Trailers that do not end the stream, or that have pseudo fields, end it by an error") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false) + data(1, "body", false));
  f.connect();
  SECTION("without END_STREAM, from the client") {
    f.client(headers(1, {{"x-checksum", "1"}}, false));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
  }
  SECTION("with a pseudo field, from the client") {
    f.client(headers(1, {{":path", "/admin"}}, true));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
  }
  SECTION("connection-specific, from the client") {
    f.client(headers(1, {{"transfer-encoding", "chunked"}}, true));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
  }
  SECTION("without END_STREAM, from the server") {
    f.server(headers(1, answer(), false) + headers(1, {{"grpc-status", "0"}}, false));
    CHECK(f.to_client.reset_code(1) != -1);
    CHECK_FALSE(f.to_client.ended(1));
  }
  SECTION("with a pseudo field, from the server") {
    f.server(headers(1, answer(), false) + headers(1, {{":status", "200"}}, true));
    CHECK(f.to_client.reset_code(1) != -1);
    CHECK_FALSE(f.to_client.ended(1));
  }
  CHECK_FALSE(f.to_server().ended(1));
  CHECK(f.to_server().reset_code(1) != -1);
}

TEST_CASE("Interim answers are passed on, but not without end") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/", {{"expect", "100-continue"}}), false));
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->field("expect") == "100-continue");
  SECTION("100 and 103") {
    f.server(headers(1, answer("100"), false) +
             headers(1, answer("103", {{"link", "</a>"}}), false));
    CHECK(f.to_client.count(FrameType::kHeaders) == 2);
    CHECK(last_head(f.to_client).field("link") == "</a>");
    f.client(data(1, "body", true));
    f.server(headers(1, answer("201"), true));
    CHECK(last_head(f.to_client).field(":status") == "201");
  }
  SECTION("a flood of them ends the stream") {
    for (int i = 0; i < 40; ++i) {
      f.server(headers(1, answer("100"), false));
    }
    CHECK(f.to_server().reset_code(1) == code(ErrorCode::kProtocolError));
    CHECK(last_head(f.to_client).field(":status") == "502");
    CHECK(f.to_client.count(FrameType::kHeaders) == 33);
  }
  SECTION("101 is none of HTTP/2") {
    f.server(headers(1, answer("101"), false));
    CHECK(last_head(f.to_client).field(":status") == "502");
    CHECK(f.to_server().reset_code(1) != -1);
  }
}

TEST_CASE("An answer to HEAD keeps its length and has no body") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("HEAD"), true));
  f.connect();
  f.server(headers(1, answer("200", {{"content-length", "1000"}}), true));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field("content-length") == "1000");
  CHECK(f.to_client.ended(1));
  CHECK(f.to_client.reset_code(1) == -1);
}

TEST_CASE("A denied upload is told to stop and its bytes are not kept") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/admin"), false));
  CHECK(f.to_client.body(1) == "Access denied\r\n");
  for (int i = 0; i < 4; ++i) {
    CHECK(f.to_client.reset_code(1) == -1);
    f.client(data(1, std::string(16384, 'x'), false));
  }
  f.client(data(1, std::string(1, 'x'), false));
  CHECK(f.to_client.reset_code(1) == code(ErrorCode::kNoError));
  f.client(data(1, std::string(16384, 'x'), true));
  CHECK(f.to_client.goaway_code() == -1);
  CHECK(f.servers.empty());
}

TEST_CASE(
    "A denied upload that is short ends without a reset, which curl would take for an error") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/admin"), false) + data(1, "code=1", true));
  CHECK(f.to_client.body(1) == "Access denied\r\n");
  CHECK(f.to_client.ended(1));
  CHECK(f.to_client.reset_code(1) == -1);
  CHECK(f.servers.empty());
}

TEST_CASE("Bodies are compared with the length that the head promised") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST", "/", {{"content-length", "4"}}), false));
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->field("content-length") == "4");
  SECTION("too long") {
    f.client(data(1, "12345", true));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
    CHECK_FALSE(f.to_server().ended(1));
  }
  SECTION("too short") {
    f.client(data(1, "123", true));
    CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
    CHECK_FALSE(f.to_server().ended(1));
  }
  SECTION("right") {
    f.client(data(1, "1234", true));
    CHECK(f.to_server().ended(1));
  }
  SECTION("of an answer, too short: it must not look complete") {
    f.server(headers(1, answer("200", {{"content-length", "10"}}), false) + data(1, "123", true));
    CHECK_FALSE(f.to_client.ended(1));
    CHECK(f.to_client.reset_code(1) != -1);
  }
}

TEST_CASE("X7: Requests that are malformed or ambiguous never reach the server") {
  struct Case {
    const char* what;
    Pairs fields;
    int status; // 0: the stream is reset with PROTOCOL_ERROR instead
  };
  const Pairs good = request();
  const auto with = [&](Pairs more) {
    Pairs fields = good;
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  const Case cases[] = {
      {"upper-case name", with({{"X-Upper", "1"}}), 0},
      {"pseudo field after a regular one",
       {{":method", "GET"}, {":scheme", "http"}, {"a", "b"}, {":path", "/"}, {":authority", "h"}},
       0},
      {"two paths", with({}), 1}, // replaced below
      {"no path", {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}}, 0},
      {"no method", {{":scheme", "http"}, {":authority", "h"}, {":path", "/"}}, 0},
      {"no scheme", {{":method", "GET"}, {":authority", "h"}, {":path", "/"}}, 0},
      {"two methods",
       {{":method", "GET"}, {":method", "GET"}, {":scheme", "http"}, {":path", "/"}},
       0},
      {"two schemes",
       {{":method", "GET"}, {":scheme", "http"}, {":scheme", "http"}, {":path", "/"}},
       0},
      {"two authorities",
       {{":method", "GET"},
        {":scheme", "http"},
        {":authority", "h"},
        {":authority", "h"},
        {":path", "/"}},
       0},
      {"unknown pseudo field",
       {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":foo", "1"}},
       0},
      {"a response's pseudo field",
       {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":status", "200"}},
       0},
      {"empty path",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", ""}},
       0},
      {"path without /",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "admin"}},
       0},
      {"an absolute URI as path",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "http://h/"}},
       0},
      {"* for another method than OPTIONS",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "*"}},
       0},
      {"neither authority nor host", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, 0},
      {"authority and host differ", with({{"host", "other.test"}}), 400},
      {"two hosts", with({{"host", "shop.test"}, {"host", "shop.test"}}), 0},
      {"user information in the authority",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "a@shop.test"}, {":path", "/"}},
       0},
      {"space in the authority",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "a b"}, {":path", "/"}},
       0},
      {"empty authority",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", ""}, {":path", "/"}},
       0},
      {"connection", with({{"connection", "close"}}), 0},
      {"keep-alive", with({{"keep-alive", "1"}}), 0},
      {"proxy-connection", with({{"proxy-connection", "close"}}), 0},
      {"transfer-encoding", with({{"transfer-encoding", "chunked"}}), 0},
      {"upgrade", with({{"upgrade", "h2c"}}), 0},
      {"te other than trailers", with({{"te", "gzip"}}), 0},
      {"te with trailers among others", with({{"te", "trailers, gzip"}}), 0},
      {"CR in a value", with({{"a", "b\rc"}}), 0},
      {"LF in a value", with({{"a", "b\nc: d"}}), 0},
      {"NUL in a value", with({{"a", std::string("b\0c", 3)}}), 0},
      {"CRLF in the path",
       {{":method", "GET"},
        {":scheme", "http"},
        {":authority", "h"},
        {":path", "/ HTTP/1.1\r\nHost: x\r\n\r\n"}},
       0},
      {"space in the path",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/a b"}},
       0},
      {"CRLF in the method",
       {{":method", "GET / HTTP/1.1\r\n"},
        {":scheme", "http"},
        {":authority", "h"},
        {":path", "/"}},
       0},
      {"CRLF in a name", with({{"a\r\nb", "c"}}), 0},
      {"colon in a name", with({{"a:b", "c"}}), 0},
      {"space in a name", with({{"a b", "c"}}), 0},
      {"empty name", with({{"", "c"}}), 0},
      {"leading space in a value", with({{"a", " b"}}), 0},
      {"trailing tab in a value", with({{"a", "b\t"}}), 0},
      {"content-length twice", with({{"content-length", "0"}, {"content-length", "0"}}), 0},
      {"content-length no number", with({{"content-length", "+5"}}), 0},
      {"content-length that overflows", with({{"content-length", "18446744073709551621"}}), 0},
      {"CONNECT", {{":method", "CONNECT"}, {":authority", "h:443"}}, 405},
      {"extended CONNECT",
       {{":method", "CONNECT"},
        {":protocol", "websocket"},
        {":scheme", "http"},
        {":authority", "h"},
        {":path", "/"}},
       0},
      {"scheme that is not HTTP's",
       {{":method", "GET"}, {":scheme", "ftp"}, {":authority", "h"}, {":path", "/"}},
       400},
      {"backslash in the path",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/a\\b"}},
       400},
      {"# in the path",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/a#b"}},
       400},
      {"encoded slash",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/a%2fb"}},
       400},
      {"path above the root",
       {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/../x"}},
       400},
      {"unknown expectation", with({{"expect", "miracles"}}), 417},
      {"path longer than the limit",
       {{":method", "GET"},
        {":scheme", "http"},
        {":authority", "h"},
        {":path", "/" + std::string(17000, 'a')}},
       414},
      {"more fields than the limit", with(Pairs(101, {"a", "b"})), 431},
      {"head longer than the limit", with(Pairs(10, {"a", std::string(7000, 'b')})), 431},
  };
  for (Case each : cases) {
    if (std::string_view(each.what) == "two paths") {
      each.fields = {{":method", "GET"},
                     {":scheme", "http"},
                     {":authority", "h"},
                     {":path", "/public/a"},
                     {":path", "/admin"}};
      each.status = 0;
    }
    INFO(each.what);
    BridgeFixture f;
    f.open_client();
    const std::string encoded = block(each.fields);
    std::string sent;
    for (std::size_t at = 0; at < encoded.size() || at == 0; at += 16384) {
      const bool last = at + 16384 >= encoded.size();
      sent += frame(at == 0 ? FrameType::kHeaders : FrameType::kContinuation,
                    static_cast<std::uint8_t>((at == 0 ? http2::kFlagEndStream : 0) |
                                              (last ? http2::kFlagEndHeaders : 0)),
                    1, std::string_view(encoded).substr(at, 16384));
    }
    f.client(sent);
    CHECK(f.servers.empty());
    CHECK(f.judge.seen.empty());
    CHECK(f.metrics.http_parse_errors.value() == 1);
    CHECK(f.log.lines.size() == 1);
    const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
    if (reply != nullptr) {
      // nghttp2 refuses most of these before weir sees them; either way is a refusal.
      CHECK(reply->field(":status") == std::to_string(each.status == 0 ? 400 : each.status));
      CHECK(f.to_client.ended(1));
    } else {
      CHECK(each.status == 0);
      CHECK(f.to_client.reset_code(1) == code(ErrorCode::kProtocolError));
    }
    // The connection goes on.
    f.client(headers(3, request("GET", "/next"), true));
    CHECK(f.servers.size() == 1);
  }
}

TEST_CASE("H11: What policy sees of a path is what the server is sent") {
  struct Case {
    const char* received;
    const char* canonical;
  };
  for (const auto& [received, canonical] :
       {Case{"/public/../admin", "/admin"}, Case{"/public/%2e%2e/admin", "/admin"},
        Case{"//public//x", "/public/x"}, Case{"/a/..;x=1/admin", "/admin"},
        Case{"/%61dmin", "/admin"}, Case{"/a?x=/../admin", "/a?x=/../admin"}}) {
    INFO(received);
    BridgeFixture f;
    f.judge.allows = [](const policy::HttpRequest&) { return true; };
    f.open_client();
    f.client(headers(1, request("GET", received), true));
    f.connect();
    CHECK(f.to_server().find(FrameType::kHeaders, 1)->field(":path") == canonical);
    CHECK(f.judge.seen.at(0) == "GET shop.test" + std::string(canonical));
  }
}

TEST_CASE("The authority is canonical, whether it came as :authority or as host") {
  const Pairs cases[] = {
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "Shop.TEST.:80"}, {":path", "/"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "shop.test:80"}},
      {{":method", "GET"},
       {":scheme", "http"},
       {":authority", "shop.test:80"},
       {":path", "/"},
       {"host", "SHOP.test.:80"}}};
  for (const Pairs& fields : cases) {
    BridgeFixture f;
    f.open_client();
    f.client(headers(1, fields, true));
    f.connect();
    const Frame* head = f.to_server().find(FrameType::kHeaders, 1);
    CHECK(head->field(":authority") == "shop.test:80");
    CHECK(head->field("host").empty());
    CHECK(f.judge.seen.at(0) == "GET shop.test:80/");
  }
}

TEST_CASE("W13: Fields that are weir's to set are taken away from both sides") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1,
                   request("GET", "/",
                           {{"x-weir-denied-by", "me"},
                            {"x-envoy-original-path", "/admin"},
                            {"x_envoy_internal", "true"},
                            {"http2-settings", "AAMAAABk"},
                            {"x-mine", "1"}}),
                   true));
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->fields.size() == 5);
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->field("x-mine") == "1");
  f.server(headers(1, answer("200", {{"x-weir-denied-by", "shop/api"}, {"x-a", "1"}}), true));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->fields ==
        Pairs{{":status", "200"}, {"x-a", "1"}});
}

TEST_CASE("Cookie crumbs are one cookie for policy and for the server, and stay out of tables") {
  BridgeFixture f;
  std::string seen;
  f.judge.allows = [&](const policy::HttpRequest& request) {
    for (const policy::HttpHeader& field : request.headers) {
      seen += std::string(field.name) + "=" + std::string(field.value) + "|";
    }
    return true;
  };
  f.open_client();
  f.client(
      headers(1, request("GET", "/", {{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}}), true));
  f.connect();
  CHECK(seen == "x=y|cookie=a=1; b=2|");
  const Frame* head = f.to_server().find(FrameType::kHeaders, 1);
  CHECK(head->field("cookie") == "a=1; b=2");
  // Never indexed: 0001xxxx (RFC 7541 §6.2.3); name index 32 of the static table is "cookie".
  CHECK(head->payload.find("\x1f\x11") != std::string::npos);
}

TEST_CASE("Answers that are malformed give 502 and reset the server's stream") {
  const Pairs cases[] = {
      {{"content-type", "a"}},
      {{":status", "200"}, {":status", "200"}},
      {{":status", "2000"}},
      {{":status", "abc"}},
      {{":status", "099"}},
      {{":status", "200"}, {"Upper", "1"}},
      {{":status", "200"}, {"connection", "close"}},
      {{":status", "200"}, {"transfer-encoding", "chunked"}},
      {{":status", "200"}, {"a", "b\r\nc"}},
      {{":status", "200"}, {"content-length", "1"}, {"content-length", "2"}},
      {{":status", "200"}, {"content-length", "-1"}},
      {{":status", "200"}, {":path", "/"}},
      {{"a", "b"}, {":status", "200"}},
  };
  for (const Pairs& fields : cases) {
    INFO(fields.back().first << ": " << fields.back().second);
    BridgeFixture f;
    f.open_client();
    f.client(headers(1, request(), true) + headers(3, request(), true));
    f.connect();
    f.server(headers(1, fields, true));
    CHECK_FALSE((f.to_client.find(FrameType::kHeaders, 1) != nullptr &&
                 f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "200"));
    CHECK((f.to_client.find(FrameType::kHeaders, 1) != nullptr || f.to_client.reset_code(1) > 0));
    CHECK(f.to_server().reset_code(1) == code(ErrorCode::kProtocolError));
    // Others are not concerned.
    f.server(headers(3, answer(), true));
    CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "200");
  }
}

TEST_CASE("X9: A change of policy ends only the streams that it denies") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/a"), true) + headers(3, request("GET", "/b"), true) +
           headers(5, request("GET", "/c"), true));
  f.connect();
  f.server(headers(1, answer(), false) + data(1, "one", false) + headers(3, answer(), false));
  f.judge.allows = [](const policy::HttpRequest& r) { return r.path == "/b"; };
  f.pass(milliseconds(300));
  // Begun: reset at both ends. Not answered yet: 403.
  CHECK(f.to_client.reset_code(1) == code(ErrorCode::kCancel));
  CHECK(f.to_server().reset_code(1) == code(ErrorCode::kCancel));
  CHECK(f.to_client.find(FrameType::kHeaders, 5)->field(":status") == "403");
  CHECK(f.to_server().reset_code(5) == code(ErrorCode::kCancel));
  CHECK(f.metrics.http2_policy_resets.value() == 2);
  // The other goes on, and so does the connection.
  f.server(data(3, "two", true));
  CHECK(f.to_client.body(3) == "two");
  CHECK(f.to_client.ended(3));
  CHECK(f.to_client.goaway_code() == -1);
  f.client(headers(7, request("GET", "/b"), true));
  CHECK(f.to_server().find(FrameType::kHeaders, 7) != nullptr);
}

TEST_CASE("X9: A change of policy reaches a request that still waits for its server") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/a"), true));
  f.judge.allows = [](const policy::HttpRequest&) { return false; };
  f.pass(milliseconds(300));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "403");
  f.connect();
  CHECK(f.to_server().count(FrameType::kHeaders) == 0);
}

TEST_CASE("A flow that is denied as a whole ends with all its streams") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  f.judge.open = false;
  f.judge.allows = [](const policy::HttpRequest&) { return false; };
  f.client(headers(3, request(), true));
  CHECK(f.bridge->denied());
  CHECK(f.bridge->finished());
  CHECK(f.to_client.find(FrameType::kHeaders, 3) == nullptr);
  REQUIRE(f.log.lines.size() == 2);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kDenied);
  CHECK(f.log.lines[1].verdict == AccessVerdict::kDenied);
  CHECK(f.to_server().reset_code(1) == code(ErrorCode::kCancel));
}

TEST_CASE("X9: Draining says GOAWAY, finishes what runs and then closes") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  f.bridge->drain();
  f.flow();
  CHECK(f.to_client.goaway_code() == code(ErrorCode::kNoError));
  // What was under way when the GOAWAY left is still served.
  f.client(headers(3, request(), true));
  CHECK(f.to_server().find(FrameType::kHeaders, 3) != nullptr);
  f.pass(seconds(1));
  f.client(headers(5, request(), true));
  CHECK(f.to_server().find(FrameType::kHeaders, 5) == nullptr);
  CHECK_FALSE(f.bridge->finished());
  f.server(headers(1, answer(), true) + headers(3, answer(), true));
  CHECK(f.to_client.ended(1));
  CHECK(f.to_client.ended(3));
  CHECK(f.bridge->finished());
}

TEST_CASE("A server's GOAWAY lets its streams finish; new ones go to another connection") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/a"), true) + headers(3, request("GET", "/b"), true));
  f.connect();
  f.server(goaway(1, ErrorCode::kNoError));
  // Not processed by the server: the client may send it again.
  CHECK(f.to_client.reset_code(3) == code(ErrorCode::kRefusedStream));
  f.client(headers(5, request("GET", "/c"), true));
  REQUIRE(f.servers.size() == 2);
  f.connect(1);
  CHECK(last_head(f.to_server(1)).field(":path") == "/c");
  f.server(headers(1, answer(), true));
  CHECK(f.to_client.ended(1));
  CHECK(f.servers[0]->closed);
  CHECK_FALSE(f.servers[1]->closed);
}

TEST_CASE("A client's GOAWAY lets its streams finish and then closes") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true) + goaway(0, ErrorCode::kNoError));
  f.connect();
  CHECK_FALSE(f.bridge->finished());
  f.server(headers(1, answer(), true));
  CHECK(f.to_client.ended(1));
  CHECK(f.bridge->finished());
}

TEST_CASE("An idle connection is closed in order after the idle time") {
  BridgeFixture f;
  f.open_client();
  f.pass(seconds(299));
  CHECK(f.to_client.goaway_code() == -1);
  f.pass(seconds(2));
  f.pass(seconds(1));
  CHECK(f.to_client.goaway_code() == code(ErrorCode::kNoError));
  CHECK(f.bridge->finished());
}

TEST_CASE("An early answer does not cut off the request that the server still reads") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false));
  f.connect(0, {{4, 4}});
  f.client(data(1, "0123456789", true));
  f.server(headers(1, answer(), true));
  CHECK(f.to_client.ended(1));
  CHECK(f.to_client.reset_code(1) == -1);
  CHECK_FALSE(f.to_server().ended(1));
  f.server(window_update(1, 100));
  CHECK(f.to_server().body(1) == "0123456789");
  CHECK(f.to_server().ended(1));
  CHECK(f.bridge->idle());
}

TEST_CASE("No more streams run at once than the settings say") {
  BridgeFixture f;
  f.open_client();
  std::string many;
  for (std::uint32_t i = 0; i < 101; ++i) {
    many += headers(1 + 2 * i, request(), true);
  }
  f.client(many);
  f.connect();
  CHECK(f.to_server().count(FrameType::kHeaders) == 100);
  CHECK((f.to_client.reset_code(201) == code(ErrorCode::kRefusedStream) ||
         f.to_client.goaway_code() == code(ErrorCode::kProtocolError)));
}

TEST_CASE("Requests beyond what the server takes at once wait for their turn") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("GET", "/1"), true) + headers(3, request("GET", "/2"), true) +
           headers(5, request("GET", "/3"), true));
  f.connect(0, {{3, 1}});
  CHECK(f.to_server().count(FrameType::kHeaders) == 1);
  SECTION("in order") {
    f.client(rst_stream(3, ErrorCode::kCancel));
    f.server(headers(1, answer(), true));
    CHECK(last_head(f.to_server()).field(":path") == "/3");
    f.server(headers(3, answer(), true));
    CHECK(f.to_client.ended(5));
    CHECK(f.bridge->idle());
  }
  SECTION("until the server takes more") {
    f.server(settings({{3, 100}}));
    CHECK(f.to_server().count(FrameType::kHeaders) == 3);
  }
  SECTION("on another connection when the server leaves") {
    f.server(goaway(1, ErrorCode::kNoError));
    REQUIRE(f.servers.size() == 2);
    f.connect(1);
    CHECK(f.to_server(1).count(FrameType::kHeaders) == 2);
    f.server(headers(1, answer(), true) + headers(3, answer(), true), 1);
    CHECK(f.to_client.ended(3));
    CHECK(f.to_client.ended(5));
  }
  SECTION("but not for ever") {
    f.server(headers(1, answer(), false));
    f.pass(milliseconds(250));
    f.pass(seconds(301));
    CHECK(f.to_client.find(FrameType::kHeaders, 5)->field(":status") == "504");
    CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "200");
  }
}

TEST_CASE("A head of several frames is passed on in several frames") {
  BridgeFixture f;
  f.open_client();
  const std::string encoded = block(request("GET", "/", Pairs(40, {"a", std::string(1000, 'b')})));
  f.client(frame(FrameType::kHeaders, http2::kFlagEndStream, 1, encoded.substr(0, 16384)) +
           frame(FrameType::kContinuation, 0, 1, encoded.substr(16384, 16384)) +
           frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, encoded.substr(32768)));
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->fields.size() == 44);
}
