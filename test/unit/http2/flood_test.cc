// Section X of the security checklist: what a client can do without end is ended, counted, and
// answered with GOAWAY; and what honest clients do stays far from it.
#include "test/unit/http2/bridge_fixture.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace weir;
using namespace weir::test;
using http2::ErrorCode;
using http2::FrameType;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr int kCalm = static_cast<int>(ErrorCode::kEnhanceYourCalm);

// Sends the pieces in rounds until the connection is closed; how many it took.
template <typename Piece>
std::size_t until_closed(BridgeFixture& f, std::size_t most, Piece piece) {
  for (std::size_t i = 0; i < most; ++i) {
    f.client(piece(i));
    if (f.bridge->client().over()) {
      return i + 1;
    }
  }
  return most;
}

std::uint32_t stream_of(std::size_t i) { return static_cast<std::uint32_t>(1 + 2 * i); }

} // namespace

TEST_CASE("X1: A client that opens and resets streams without end is closed") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, {{":status", "200"}}, true));
  const std::size_t rounds = until_closed(f, 10000, [](std::size_t i) {
    return headers(stream_of(i + 1), request(), true) +
           rst_stream(stream_of(i + 1), ErrorCode::kCancel);
  });
  CHECK(rounds == 501);
  CHECK(f.to_client.goaway_code() == kCalm);
  CHECK(f.floods(Http2Flood::kReset) == 1);
  CHECK(f.bridge->finished());
}

TEST_CASE("X1: Cancelling a hundred streams a second is nobody's flood") {
  BridgeFixture f;
  f.open_client();
  std::size_t stream = 0;
  for (int second = 0; second < 30; ++second) {
    for (int i = 0; i < 100; ++i, ++stream) {
      f.client(headers(stream_of(stream), request(), true) +
               rst_stream(stream_of(stream), ErrorCode::kCancel));
    }
    f.now += seconds(1);
  }
  CHECK_FALSE(f.bridge->client().over());
}

TEST_CASE("X2: Making weir reset streams counts like resetting them (MadeYouReset)") {
  struct Case {
    const char* what;
    std::function<std::string(std::uint32_t)> provoke;
  };
  const Case cases[] = {
      {"WINDOW_UPDATE with increment 0", [](std::uint32_t s) { return window_update(s, 0); }},
      {"WINDOW_UPDATE that overflows",
       [](std::uint32_t s) { return window_update(s, 0x7fffffff); }},
      {"DATA beyond content-length",
       [](std::uint32_t s) { return data(s, "longer than promised", false); }},
      {"trailers without END_STREAM",
       [](std::uint32_t s) { return headers(s, {{"a", "b"}}, false); }},
      {"malformed trailers", [](std::uint32_t s) { return headers(s, {{":path", "/"}}, true); }},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    BridgeFixture f;
    f.open_client();
    const std::size_t rounds = until_closed(f, 3000, [&](std::size_t i) {
      return headers(stream_of(i), request("POST", "/", {{"content-length", "5"}}), false) +
             each.provoke(stream_of(i));
    });
    // Some of these end the connection the first time, which is as good.
    CHECK(rounds <= 501);
    CHECK(f.to_client.goaway_code() > 0);
    CHECK((f.floods(Http2Flood::kReset) == 1 || f.metrics.http2_protocol_errors.value() == 1));
  }
}

TEST_CASE("X2: Malformed heads count against the same budget") {
  BridgeFixture f;
  f.open_client();
  const std::size_t rounds = until_closed(f, 3000, [](std::size_t i) {
    return headers(stream_of(i), request("GET", "/", {{"Upper", "1"}}), true);
  });
  CHECK(rounds == 501);
  CHECK(f.to_client.goaway_code() == kCalm);
}

TEST_CASE("X2: A thousand denied uploads are no reason to close") {
  BridgeFixture f;
  f.open_client();
  for (std::size_t i = 0; i < 1000; ++i) {
    f.client(headers(stream_of(i), request("POST", "/admin"), false) +
             data(stream_of(i), "x", true));
  }
  CHECK_FALSE(f.bridge->client().over());
}

TEST_CASE("X3: A header block that never ends is ended by the number of its frames") {
  BridgeFixture f;
  f.open_client();
  f.client(frame(FrameType::kHeaders, 0, 1, block(request())));
  const std::string piece = GENERATE(std::string(), block({{"a", "b"}}));
  const std::size_t rounds = until_closed(
      f, 1000, [&](std::size_t) { return frame(FrameType::kContinuation, 0, 1, piece); });
  CHECK(rounds == 33);
  CHECK(f.to_client.goaway_code() == kCalm);
  CHECK(f.floods(Http2Flood::kContinuation) == 1);
  CHECK(f.servers.empty());
}

TEST_CASE("X3: A header block that never ends is ended by its size") {
  BridgeFixture f;
  f.open_client();
  f.client(frame(FrameType::kHeaders, 0, 1, block(request())));
  // Values that are never looked at again: no memory of the compression is touched.
  const std::size_t rounds = until_closed(f, 1000, [&](std::size_t) {
    return frame(FrameType::kContinuation, 0, 1, block({{"a", std::string(16000, 'x')}}));
  });
  CHECK(rounds == 5);
  CHECK(f.floods(Http2Flood::kHeaderBlock) == 1);
  CHECK(f.to_client.goaway_code() == kCalm);
}

TEST_CASE("X3: A header block in honest pieces is one request") {
  BridgeFixture f;
  f.open_client();
  const std::string encoded = block(request("GET", "/pieces"));
  std::string sent = frame(FrameType::kHeaders, http2::kFlagEndStream, 1, encoded.substr(0, 3));
  for (std::size_t at = 3; at < encoded.size(); at += 7) {
    sent += frame(FrameType::kContinuation,
                  at + 7 >= encoded.size() ? http2::kFlagEndHeaders : std::uint8_t{0}, 1,
                  encoded.substr(at, 7));
  }
  f.client(sent);
  f.connect();
  CHECK(f.to_server().find(FrameType::kHeaders, 1)->field(":path") == "/pieces");
}

TEST_CASE("X3: A header block that is not finished in time ends the connection") {
  BridgeFixture f;
  f.open_client();
  f.client(frame(FrameType::kHeaders, 0, 1, block(request())));
  f.pass(seconds(9));
  CHECK_FALSE(f.bridge->client().over());
  // Dripping does not help.
  f.client(frame(FrameType::kContinuation, 0, 1, ""));
  f.pass(seconds(2));
  CHECK(f.to_client.goaway_code() == kCalm);
  CHECK(f.metrics.http2_stalls.value() == 1);
}

TEST_CASE("X4: A small block that expands without end is ended by its decoded size") {
  BridgeFixture f;
  f.open_client();
  std::string encoded = block(request()) + indexed_literal("a", std::string(3900, 'x'));
  encoded.append(2000, static_cast<char>(0x80 | 62)); // the entry just made, again and again
  f.client(frame(FrameType::kHeaders, http2::kFlagEndHeaders | http2::kFlagEndStream, 1, encoded));
  CHECK(f.to_client.goaway_code() == kCalm);
  CHECK(f.floods(Http2Flood::kHeaderBlock) == 1);
  CHECK(f.servers.empty());
}

TEST_CASE("X4: A head just over the decoded limit is 431 and the connection goes on") {
  BridgeFixture f;
  f.open_client();
  std::string encoded = block(request()) + indexed_literal("a", std::string(3900, 'x'));
  encoded.append(20, static_cast<char>(0x80 | 62));
  f.client(frame(FrameType::kHeaders, http2::kFlagEndHeaders | http2::kFlagEndStream, 1, encoded));
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "431");
  CHECK_FALSE(f.bridge->client().over());
}

TEST_CASE("X4: Cookie crumbs are bounded by their decoded size and number") {
  BridgeFixture f;
  f.open_client();
  // Name index 32 is "cookie"; the crumb goes into the table and is then one byte a piece.
  std::string encoded = block(request()) + "\x60\x03" + "a=b";
  encoded.append(1500, static_cast<char>(0x80 | 62));
  f.client(frame(FrameType::kHeaders, http2::kFlagEndHeaders | http2::kFlagEndStream, 1, encoded));
  const Frame* reply = f.to_client.find(FrameType::kHeaders, 1);
  REQUIRE(reply != nullptr);
  CHECK(reply->field(":status") == "431");
  CHECK(f.servers.empty());
  CHECK(f.judge.seen.empty());
}

TEST_CASE("X5: Floods of frames that cost nothing to send end the connection") {
  struct Case {
    const char* what;
    Http2Flood flood;
    std::string piece;
    std::size_t most;
  };
  const Case cases[] = {
      {"SETTINGS", Http2Flood::kSettings, settings({{3, 100}}), 60},
      {"empty SETTINGS", Http2Flood::kSettings, settings(), 60},
      {"PING", Http2Flood::kPing, ping(), 250},
      {"PING acknowledgements", Http2Flood::kPing, ping(http2::kFlagAck), 250},
      {"PRIORITY", Http2Flood::kPriority, frame(FrameType::kPriority, 0, 1, number(0) + "\x10"),
       700},
      {"PRIORITY_UPDATE", Http2Flood::kPriority,
       frame(FrameType::kPriorityUpdate, 0, 0, number(1) + "u=1"), 700},
      {"empty DATA", Http2Flood::kEmptyData, data(1, "", false), 120},
      {"DATA of padding only", Http2Flood::kEmptyData,
       frame(FrameType::kData, http2::kFlagPadded, 1, std::string("\x03\0\0\0", 4)), 120},
      {"WINDOW_UPDATE of the connection", Http2Flood::kWindowUpdate, window_update(0, 1), 600},
      {"WINDOW_UPDATE of a stream", Http2Flood::kWindowUpdate, window_update(1, 1), 600},
      {"frames of unknown type", Http2Flood::kIgnoredFrame, frame(0xfa, 0, 0, "x"), 120},
      {"ALTSVC", Http2Flood::kIgnoredFrame, frame(0x0a, 0, 0, std::string(2, '\0')), 120},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    BridgeFixture f;
    f.open_client();
    f.client(headers(1, request("POST"), false));
    f.connect();
    const std::size_t rounds = until_closed(f, 5000, [&](std::size_t) { return each.piece; });
    CHECK(rounds <= each.most);
    CHECK(rounds > 40);
    CHECK(f.to_client.goaway_code() == kCalm);
    CHECK(f.floods(each.flood) == 1);
    CHECK(f.bridge->finished());
  }
}

TEST_CASE("X5: Frames in the measure that honest peers send them do not add up") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request("POST"), false));
  f.connect();
  f.server(headers(1, {{":status", "200"}}, false));
  for (int second = 0; second < 600; ++second) {
    f.client(ping() + window_update(0, 1) + window_update(1, 1) + data(1, "x", false) +
             settings({{3, 100}}));
    f.now += seconds(1);
  }
  CHECK_FALSE(f.bridge->client().over());
}

TEST_CASE("X5: A client that probes and credits each DATA frame is not taken for a flood") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, {{":status", "200"}}, false));
  // All within one moment: what pays is the data that weir sends.
  for (int i = 0; i < 5000; ++i) {
    f.server(data(1, "0123456789", false));
    f.client(ping() + window_update(0, 10) + window_update(1, 10));
  }
  CHECK_FALSE(f.bridge->client().over());
  CHECK(f.to_client.body(1).size() == 50000);
}

TEST_CASE("X5: Answers that pile up unsent end the connection") {
  session::Http2Bridge::Options options;
  options.limits.max_outbound_frames = 50;
  BridgeFixture f(options);
  f.open_client();
  for (int i = 0; i < 100; ++i) {
    f.client_silently(ping());
  }
  CHECK(f.bridge->client().over());
  CHECK(f.floods(Http2Flood::kOutboundQueue) == 1);
  f.flow();
  CHECK(f.to_client.goaway_code() == kCalm);
}

TEST_CASE("X6: A client that asks for much and reads nothing is held to its windows, then ended") {
  BridgeFixture f;
  f.open_client({{4, 0}}); // no byte of a body may be sent
  std::string requests;
  for (std::size_t i = 0; i < 100; ++i) {
    requests += headers(stream_of(i), request(), true);
  }
  f.client(requests);
  f.connect();
  std::size_t taken = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    f.server(headers(stream_of(i), {{":status", "200"}}, false));
  }
  // The server may send what its connection's window holds and nothing more.
  for (std::size_t i = 0; taken + 10000 <= 1024 * 1024; ++i, taken += 10000) {
    f.server(data(stream_of(i % 100), std::string(10000, 'x'), false));
  }
  CHECK(f.to_client.count(FrameType::kData) == 0);
  for (const Frame& each : f.to_server().frames()) {
    CHECK_FALSE((each.type == FrameType::kWindowUpdate && each.stream != 0));
  }
  f.pass(milliseconds(250));
  f.pass(seconds(299));
  CHECK(f.to_client.reset_code(1) == -1);
  f.pass(seconds(2));
  CHECK(f.to_client.count(FrameType::kRstStream) == 100);
  CHECK(f.to_server().count(FrameType::kRstStream) == 100);
  CHECK(f.metrics.http2_stalls.value() == 100);
  CHECK(f.bridge->idle());
}

TEST_CASE("X6: A slow client that goes on reading is not ended") {
  BridgeFixture f;
  f.open_client({{4, 0}});
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, {{":status", "200"}}, false) + data(1, std::string(100, 'x'), true));
  for (int i = 0; i < 100; ++i) {
    f.pass(seconds(200));
    f.client(window_update(1, 1));
  }
  CHECK(f.to_client.body(1).size() == 100);
  CHECK(f.to_client.ended(1));
}

TEST_CASE("A server that floods is closed as well, and its streams get 502") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  for (int i = 0; i < 300 && !f.servers[0]->closed; ++i) {
    f.server(ping());
  }
  CHECK(f.servers[0]->closed);
  CHECK(f.floods(Http2Flood::kPing) == 1);
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "502");
  CHECK_FALSE(f.bridge->client().over());
}

TEST_CASE("X5: Heads for streams that are closed are counted though they are ignored") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true) + rst_stream(1, ErrorCode::kCancel));
  f.client(headers(201, request("GET", "/admin"), true));
  const std::size_t rounds =
      until_closed(f, 1000, [](std::size_t) { return headers(3, request(), true); });
  CHECK(rounds <= 210);
  CHECK(f.to_client.goaway_code() > 0);
}

TEST_CASE("X5: A server's heads are counted by the requests that it was sent") {
  BridgeFixture f;
  f.open_client();
  f.client(headers(1, request(), true));
  f.connect();
  f.server(headers(1, {{":status", "200"}}, true));
  for (int i = 0; i < 1000 && !f.servers[0]->closed; ++i) {
    f.server(headers(1, {{":status", "200"}}, true));
  }
  CHECK(f.servers[0]->closed);
  CHECK_FALSE(f.bridge->client().over());
}
