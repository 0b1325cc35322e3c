// Violations of RFC 9113 and RFC 7541, by either peer, and what is allowed although it looks odd:
// one line a case, in the order of the RFC's sections.
#include "test/unit/http2/bridge_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace weir;
using namespace weir::test;
using http2::ErrorCode;
using http2::FrameType;

namespace {

enum class Expect : std::uint8_t {
  kConnectionError, // GOAWAY
  kStreamError,     // RST_STREAM for stream 1, or GOAWAY: a stricter reading is allowed
  kFine,            // nothing of the kind
};

struct Case {
  const char* what;
  std::string bytes;
  Expect expect;
  std::vector<ErrorCode> codes = {};
};

const std::string& open_stream() { // stream 1 is open, more is to come
  static const std::string kText = headers(1, request("POST"), false);
  return kText;
}
const std::string& ended_stream() { // stream 1 is half-closed (remote)
  static const std::string kText = headers(1, request("POST"), true);
  return kText;
}
const std::string& reset_stream() { // stream 1 is closed
  static const std::string kText = open_stream() + rst_stream(1, ErrorCode::kCancel);
  return kText;
}

std::string header_frame(std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  return frame(FrameType::kHeaders, flags, stream, payload);
}

void judge_outcome(const Case& each, FrameReader& reader, bool over) {
  const int goaway = reader.goaway_code(), reset = reader.reset_code(1);
  const auto among = [&](int code) {
    return std::any_of(each.codes.begin(), each.codes.end(),
                       [&](ErrorCode one) { return static_cast<int>(one) == code; });
  };
  INFO("GOAWAY " << goaway << ", RST_STREAM " << reset);
  switch (each.expect) {
  case Expect::kConnectionError:
    CHECK(over);
    CHECK(among(goaway));
    break;
  case Expect::kStreamError:
    CHECK((among(goaway) || among(reset)));
    break;
  case Expect::kFine:
    CHECK_FALSE(over);
    CHECK(goaway == -1);
    CHECK(reset == -1);
    break;
  }
}

constexpr auto kProtocol = ErrorCode::kProtocolError;
constexpr auto kSize = ErrorCode::kFrameSizeError;
constexpr auto kFlow = ErrorCode::kFlowControlError;
constexpr auto kClosed = ErrorCode::kStreamClosed;
constexpr auto kHpack = ErrorCode::kCompressionError;

} // namespace

TEST_CASE("RFC 9113: What a client may not send, and may") {
  const std::string good = block(request());
  const std::string pad_beyond = std::string(1, '\x7f') + good.substr(0, 20);
  const auto hpack = [](std::string_view bytes) {
    return header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream, 1,
                        block(request()) + std::string(bytes));
  };
  using enum Expect;
  const Case cases[] = {
      // §4.1 frame format
      {"frame of unknown type", frame(0x16, 0, 0, "12345678"), kFine},
      {"undefined flags", frame(FrameType::kPing, 0x16, 0, "12345678"), kFine},
      {"reserved bit of the stream identifier",
       frame(static_cast<std::uint8_t>(FrameType::kPing), 0, 0x80000000u, "12345678"), kFine},
      // §4.2 frame size
      {"DATA of 2^14 bytes", open_stream() + data(1, std::string(16384, 'x'), true), kFine},
      {"DATA longer than SETTINGS_MAX_FRAME_SIZE",
       open_stream() + data(1, std::string(16385, 'x'), true),
       kStreamError,
       {kSize}},
      {"HEADERS longer than SETTINGS_MAX_FRAME_SIZE",
       header_frame(http2::kFlagEndHeaders, 1, std::string(16385, '\0')),
       kConnectionError,
       {kSize}},
      {"a frame said to have 2^24 - 1 bytes",
       frame_header(0xffffff, 0, 0, 1),
       kConnectionError,
       {kSize, kProtocol}},
      // §4.3 header blocks
      {"block that is no HPACK",
       header_frame(http2::kFlagEndHeaders, 1, "\x40\xff\xff\xff\xff\xff"),
       kConnectionError,
       {kHpack}},
      {"block that ends inside a field",
       header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream, 1,
                    good.substr(0, good.size() - 1)),
       kConnectionError,
       {kHpack}},
      {"PRIORITY inside a block",
       header_frame(0, 1, good) + frame(FrameType::kPriority, 0, 1, number(0) + "\x10"),
       kConnectionError,
       {kProtocol}},
      {"HEADERS of another stream inside a block",
       header_frame(0, 1, good) + header_frame(http2::kFlagEndHeaders, 3, good),
       kConnectionError,
       {kProtocol}},
      {"DATA inside a block",
       header_frame(0, 1, good) + data(1, "x", false),
       kConnectionError,
       {kProtocol}},
      {"PING inside a block", header_frame(0, 1, good) + ping(), kConnectionError, {kProtocol}},
      // §5.1 stream states
      {"idle: DATA", data(1, "x", true), kConnectionError, {kProtocol, kClosed}},
      {"idle: RST_STREAM", rst_stream(1, ErrorCode::kCancel), kConnectionError, {kProtocol}},
      {"idle: WINDOW_UPDATE", window_update(1, 1), kConnectionError, {kProtocol}},
      {"idle: CONTINUATION",
       frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol}},
      {"idle: PRIORITY", frame(FrameType::kPriority, 0, 1, number(0) + "\x10"), kFine},
      {"half-closed: DATA", ended_stream() + data(1, "x", true), kStreamError, {kClosed}},
      {"half-closed: HEADERS",
       ended_stream() + headers(1, request(), true),
       kStreamError,
       {kClosed}},
      {"half-closed: CONTINUATION",
       ended_stream() + frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol, kClosed}},
      {"half-closed: WINDOW_UPDATE", ended_stream() + window_update(1, 100), kFine},
      {"closed: CONTINUATION",
       reset_stream() + frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol, kClosed}},
      {"closed: WINDOW_UPDATE", reset_stream() + window_update(1, 1), kFine},
      {"closed: RST_STREAM", reset_stream() + rst_stream(1, ErrorCode::kCancel), kFine},
      {"closed: PRIORITY", reset_stream() + frame(FrameType::kPriority, 0, 1, number(0) + "\x10"),
       kFine},
      // §5.1.1 stream identifiers
      {"even stream identifier", headers(2, request(), true), kConnectionError, {kProtocol}},
      // §5.5 extensions
      {"unknown frame inside a block",
       header_frame(0, 1, good) + frame(0x16, 0, 0, "x"),
       kConnectionError,
       {kProtocol}},
      // §6.1 DATA
      {"DATA on stream 0", data(0, "x", true), kConnectionError, {kProtocol}},
      {"DATA with more padding than frame",
       open_stream() + frame(FrameType::kData, http2::kFlagPadded, 1, "\x06xxxxx"),
       kConnectionError,
       {kProtocol}},
      {"DATA said to be padded and empty",
       open_stream() + frame(FrameType::kData, http2::kFlagPadded, 1, ""),
       kConnectionError,
       {kSize, kProtocol}},
      {"padded DATA",
       open_stream() +
           frame(FrameType::kData, http2::kFlagPadded, 1, std::string("\x02hello\0\0", 8)),
       kFine},
      // §6.2 HEADERS
      {"HEADERS on stream 0", headers(0, request(), true), kConnectionError, {kProtocol}},
      {"HEADERS with more padding than frame",
       header_frame(http2::kFlagEndHeaders | http2::kFlagPadded, 1, pad_beyond),
       kConnectionError,
       {kProtocol}},
      {"HEADERS with padding and priority",
       header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream | http2::kFlagPadded |
                        http2::kFlagPriority,
                    1, std::string("\x03\0\0\0\0\x0f", 6) + good + std::string(3, '\0')),
       kFine},
      // §6.3 PRIORITY
      {"PRIORITY on stream 0",
       frame(FrameType::kPriority, 0, 0, number(0) + "\x10"),
       kConnectionError,
       {kProtocol}},
      {"PRIORITY of the wrong size",
       open_stream() + frame(FrameType::kPriority, 0, 1, "1234"),
       kStreamError,
       {kSize}},
      // §6.4 RST_STREAM
      {"RST_STREAM on stream 0", rst_stream(0, ErrorCode::kCancel), kConnectionError, {kProtocol}},
      {"RST_STREAM of the wrong size",
       open_stream() + frame(FrameType::kRstStream, 0, 1, "123"),
       kConnectionError,
       {kSize}},
      // §6.5 SETTINGS
      {"SETTINGS acknowledgement with payload",
       frame(FrameType::kSettings, http2::kFlagAck, 0, std::string(6, '\0')),
       kConnectionError,
       {kSize}},
      {"SETTINGS acknowledgement of nothing", settings_ack(), kConnectionError, {kProtocol}},
      {"SETTINGS on a stream",
       frame(FrameType::kSettings, 0, 1, ""),
       kConnectionError,
       {kProtocol}},
      {"SETTINGS of the wrong size",
       frame(FrameType::kSettings, 0, 0, "123"),
       kConnectionError,
       {kSize}},
      {"SETTINGS_ENABLE_PUSH 2", settings({{2, 2}}), kConnectionError, {kProtocol}},
      {"SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1",
       settings({{4, 0x80000000u}}),
       kConnectionError,
       {kFlow}},
      {"SETTINGS_MAX_FRAME_SIZE below 2^14", settings({{5, 16383}}), kConnectionError, {kProtocol}},
      {"SETTINGS_MAX_FRAME_SIZE above 2^24 - 1",
       settings({{5, 0x1000000}}),
       kConnectionError,
       {kProtocol}},
      {"unknown setting", settings({{0xff, 1}}), kFine},
      {"a setting twice", settings({{4, 100}, {4, 1}}), kFine},
      // §6.6 PUSH_PROMISE
      {"PUSH_PROMISE from a client",
       open_stream() + frame(FrameType::kPushPromise, http2::kFlagEndHeaders, 1, number(2) + good),
       kConnectionError,
       {kProtocol}},
      // §6.7 PING
      {"PING", ping(), kFine},
      {"PING acknowledgement of nothing", ping(http2::kFlagAck), kFine},
      {"PING on a stream",
       frame(FrameType::kPing, 0, 1, "12345678"),
       kConnectionError,
       {kProtocol}},
      {"PING of the wrong size",
       frame(FrameType::kPing, 0, 0, "123456"),
       kConnectionError,
       {kSize}},
      // §6.8 GOAWAY
      {"GOAWAY on a stream",
       frame(FrameType::kGoaway, 0, 1, number(0) + number(0)),
       kConnectionError,
       {kProtocol}},
      {"GOAWAY of the wrong size",
       frame(FrameType::kGoaway, 0, 0, "1234"),
       kConnectionError,
       {kSize}},
      // §6.9 WINDOW_UPDATE
      {"WINDOW_UPDATE of 0 for the connection", window_update(0, 0), kConnectionError, {kProtocol}},
      {"WINDOW_UPDATE of 0 for a stream",
       open_stream() + window_update(1, 0),
       kStreamError,
       {kProtocol}},
      {"WINDOW_UPDATE of the wrong size",
       frame(FrameType::kWindowUpdate, 0, 0, "123"),
       kConnectionError,
       {kSize}},
      {"a connection's window above 2^31 - 1",
       window_update(0, 0x7fffffff),
       kConnectionError,
       {kFlow}},
      {"a stream's window above 2^31 - 1",
       open_stream() + window_update(1, 0x7fffffff),
       kStreamError,
       {kFlow}},
      {"a setting that makes a stream's window too large",
       open_stream() + window_update(1, 0x7fffffff - 65535) + settings({{4, 65536}}),
       kStreamError,
       {kFlow}},
      // §6.10 CONTINUATION
      {"several CONTINUATION frames",
       header_frame(http2::kFlagEndStream, 1, good.substr(0, 5)) +
           frame(FrameType::kContinuation, 0, 1, good.substr(5, 5)) +
           frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good.substr(10)),
       kFine},
      {"CONTINUATION on stream 0",
       header_frame(0, 1, good.substr(0, 5)) +
           frame(FrameType::kContinuation, http2::kFlagEndHeaders, 0, good.substr(5)),
       kConnectionError,
       {kProtocol}},
      {"CONTINUATION after END_HEADERS",
       open_stream() + frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol}},
      {"CONTINUATION after DATA",
       open_stream() + data(1, "x", false) +
           frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol}},
      // §8.1 message framing
      {"second HEADERS without END_STREAM",
       open_stream() + headers(1, {{"a", "b"}}, false),
       kStreamError,
       {kProtocol}},
      // RFC 7541
      {"HPACK: index 0", hpack("\x80"), kConnectionError, {kHpack}},
      {"HPACK: index beyond the tables", hpack("\xff\x7f"), kConnectionError, {kHpack}},
      {"HPACK: table size above the setting",
       header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream, 1, "\x3f\xff\x7f" + good),
       kConnectionError,
       {kHpack}},
      {"HPACK: table size update after a field", hpack("\x20"), kConnectionError, {kHpack}},
      {"HPACK: table size updates at the start",
       header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream, 1, "\x20\x3f\xe1\x1f" + good),
       kFine},
      {"HPACK: Huffman padding of more than 7 bits",
       hpack(std::string("\0\x01z\x84\x49\x50\x9f\xff", 8)),
       kConnectionError,
       {kHpack}},
      {"HPACK: Huffman padding that is not ones",
       hpack(std::string("\0\x01z\x81\x00", 5)),
       kConnectionError,
       {kHpack}},
      {"HPACK: Huffman code of EOS",
       hpack(std::string("\0\x01z\x88\xff\xff\xff\xff\xff\xff\xff\xff", 12)),
       kConnectionError,
       {kHpack}},
      {"HPACK: a number that overflows",
       hpack("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
       kConnectionError,
       {kHpack}},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    BridgeFixture f;
    f.open_client();
    f.client(each.bytes);
    judge_outcome(each, f.to_client, f.bridge->client().over());
  }
}

TEST_CASE("RFC 9113 §3.4: A connection begins with the preface and SETTINGS, or ends") {
  for (const std::string& bytes :
       {std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), std::string(http2::kPreface) + ping(),
        std::string(http2::kPreface) + headers(1, request(), true),
        std::string(http2::kPreface) + settings_ack()}) {
    INFO(bytes);
    BridgeFixture f;
    f.client(bytes);
    CHECK(f.bridge->client().over());
    CHECK(f.bridge->finished());
    CHECK(f.servers.empty());
    CHECK(f.metrics.http2_protocol_errors.value() == 1);
  }
}

TEST_CASE("RFC 9113 §3.4: A client that says only the preface is not waited for") {
  BridgeFixture f;
  f.client(http2::kPreface);
  f.pass(std::chrono::milliseconds(250));
  f.pass(std::chrono::seconds(11));
  CHECK(f.to_client.goaway_code() == static_cast<int>(ErrorCode::kSettingsTimeout));
}

TEST_CASE("RFC 9113 §6.5.3 and §6.7: SETTINGS and PING are acknowledged") {
  BridgeFixture f;
  f.open_client();
  f.client(ping());
  CHECK(
      std::any_of(f.to_client.frames().begin(), f.to_client.frames().end(), [](const Frame& each) {
        return each.type == FrameType::kSettings && each.has(http2::kFlagAck);
      }));
  const Frame* pong = f.to_client.find(FrameType::kPing, 0);
  REQUIRE(pong != nullptr);
  CHECK(pong->has(http2::kFlagAck));
  CHECK(pong->payload == "pingpong");
}

TEST_CASE("RFC 9113 §6.9.2: A smaller initial window can make a stream's window negative") {
  BridgeFixture f;
  f.open_client({{4, 10}});
  f.client(headers(1, request("GET", "/admin"), true)); // 15 bytes of body
  CHECK(f.to_client.body(1).size() == 10);
  f.client(settings({{4, 5}}));
  f.client(window_update(1, 5));
  CHECK(f.to_client.body(1).size() == 10);
  f.client(window_update(1, 1));
  CHECK(f.to_client.body(1).size() == 11);
}

TEST_CASE("RFC 9113 §5.1.1: A head for a closed or skipped stream is no request") {
  // nghttp2 cannot tell them from trailers that crossed a reset on their way, and ignores them.
  for (const std::string& bytes : {reset_stream(), headers(5, request(), true)}) {
    BridgeFixture f;
    f.open_client();
    f.client(bytes);
    const std::size_t judged = f.judge.seen.size();
    f.client(headers(1, request("GET", "/other"), true));
    CHECK(f.judge.seen.size() == judged);
    CHECK(f.to_client.find(FrameType::kHeaders, 1) == nullptr);
    // HPACK is still in step.
    f.client(headers(7, request("GET", "/admin"), true));
    CHECK(f.to_client.find(FrameType::kHeaders, 7)->field(":status") == "403");
  }
}

TEST_CASE("RFC 9113 §5.1: DATA behind a reset goes nowhere") {
  BridgeFixture f;
  f.open_client();
  f.client(open_stream());
  f.connect();
  f.client(rst_stream(1, ErrorCode::kCancel) + data(1, "late", true));
  CHECK(f.to_server().body(1).empty());
}

TEST_CASE("RFC 9113: What a server may not send, and may") {
  const Pairs ok = {{":status", "200"}};
  const std::string good = block(ok);
  const auto hpack = [&](std::string_view bytes) {
    return header_frame(http2::kFlagEndHeaders | http2::kFlagEndStream, 1,
                        good + std::string(bytes));
  };
  using enum Expect;
  // Stream 1 has been sent a whole request.
  const Case cases[] = {
      {"frame of unknown type", frame(0x16, 0, 0, "12345678"), kFine},
      {"DATA longer than SETTINGS_MAX_FRAME_SIZE",
       headers(1, ok, false) + data(1, std::string(16385, 'x'), true),
       kStreamError,
       {kSize}},
      {"HEADERS longer than SETTINGS_MAX_FRAME_SIZE",
       header_frame(http2::kFlagEndHeaders, 1, std::string(16385, '\0')),
       kConnectionError,
       {kSize}},
      {"block that is no HPACK",
       header_frame(http2::kFlagEndHeaders, 1, "\x40\xff\xff\xff\xff\xff"),
       kConnectionError,
       {kHpack}},
      {"PRIORITY inside a block",
       header_frame(0, 1, good) + frame(FrameType::kPriority, 0, 1, number(0) + "\x10"),
       kConnectionError,
       {kProtocol}},
      {"HEADERS of another stream inside a block",
       header_frame(0, 1, good) + header_frame(http2::kFlagEndHeaders, 3, good),
       kConnectionError,
       {kProtocol}},
      {"idle: DATA", data(3, "x", true), kConnectionError, {kProtocol, kClosed}},
      {"idle: HEADERS", headers(3, ok, true), kConnectionError, {kProtocol, kClosed}},
      {"idle: RST_STREAM", rst_stream(3, ErrorCode::kCancel), kConnectionError, {kProtocol}},
      {"idle: WINDOW_UPDATE", window_update(3, 1), kConnectionError, {kProtocol}},
      {"a stream of the server's own",
       headers(2, ok, true),
       kConnectionError,
       {kProtocol, kClosed}},
      {"answer without a head", data(1, "x", true), kStreamError, {kProtocol}},
      {"DATA on stream 0", data(0, "x", true), kConnectionError, {kProtocol}},
      {"DATA with more padding than frame",
       headers(1, ok, false) + frame(FrameType::kData, http2::kFlagPadded, 1, "\x06xxxxx"),
       kConnectionError,
       {kProtocol}},
      {"HEADERS on stream 0", headers(0, ok, true), kConnectionError, {kProtocol}},
      {"HEADERS with more padding than frame",
       header_frame(http2::kFlagEndHeaders | http2::kFlagPadded, 1, "\x7f" + good),
       kConnectionError,
       {kProtocol}},
      {"PRIORITY on stream 0",
       frame(FrameType::kPriority, 0, 0, number(0) + "\x10"),
       kConnectionError,
       {kProtocol}},
      {"RST_STREAM on stream 0", rst_stream(0, ErrorCode::kCancel), kConnectionError, {kProtocol}},
      {"RST_STREAM of the wrong size",
       frame(FrameType::kRstStream, 0, 1, "123"),
       kConnectionError,
       {kSize}},
      {"SETTINGS acknowledgement with payload",
       frame(FrameType::kSettings, http2::kFlagAck, 0, std::string(6, '\0')),
       kConnectionError,
       {kSize}},
      {"SETTINGS on a stream",
       frame(FrameType::kSettings, 0, 1, ""),
       kConnectionError,
       {kProtocol}},
      {"SETTINGS of the wrong size",
       frame(FrameType::kSettings, 0, 0, "123"),
       kConnectionError,
       {kSize}},
      {"SETTINGS_ENABLE_PUSH 1", settings({{2, 1}}), kConnectionError, {kProtocol}},
      {"SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1",
       settings({{4, 0x80000000u}}),
       kConnectionError,
       {kFlow}},
      {"SETTINGS_MAX_FRAME_SIZE below 2^14", settings({{5, 16383}}), kConnectionError, {kProtocol}},
      {"PUSH_PROMISE",
       frame(FrameType::kPushPromise, http2::kFlagEndHeaders, 1, number(2) + block(request())),
       kConnectionError,
       {kProtocol}},
      {"PING", ping(), kFine},
      {"PING on a stream",
       frame(FrameType::kPing, 0, 1, "12345678"),
       kConnectionError,
       {kProtocol}},
      {"PING of the wrong size", frame(FrameType::kPing, 0, 0, "1"), kConnectionError, {kSize}},
      {"GOAWAY on a stream",
       frame(FrameType::kGoaway, 0, 1, number(0) + number(0)),
       kConnectionError,
       {kProtocol}},
      {"WINDOW_UPDATE of 0 for the connection", window_update(0, 0), kConnectionError, {kProtocol}},
      {"WINDOW_UPDATE of the wrong size",
       frame(FrameType::kWindowUpdate, 0, 0, "1"),
       kConnectionError,
       {kSize}},
      {"a connection's window above 2^31 - 1",
       window_update(0, 0x7fffffff),
       kConnectionError,
       {kFlow}},
      {"CONTINUATION without HEADERS",
       frame(FrameType::kContinuation, http2::kFlagEndHeaders, 1, good),
       kConnectionError,
       {kProtocol}},
      {"1xx that ends the stream",
       headers(1, {{":status", "103"}}, true),
       kStreamError,
       {kProtocol}},
      {"HPACK: index 0", hpack("\x80"), kConnectionError, {kHpack}},
      {"HPACK: index beyond the tables", hpack("\xff\x7f"), kConnectionError, {kHpack}},
      {"HPACK: table size update after a field", hpack("\x20"), kConnectionError, {kHpack}},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    BridgeFixture f;
    f.open_client();
    f.client(headers(1, request(), true));
    f.connect();
    f.server(each.bytes);
    judge_outcome(each, f.to_server(), f.servers[0]->closed);
    // Whatever it was, it is not the client's fault, and nothing looks complete that is not.
    CHECK_FALSE(f.bridge->client().over());
    const Frame* head = f.to_client.find(FrameType::kHeaders, 1);
    if (each.expect == Expect::kFine) {
      CHECK(head == nullptr);
    } else if (head != nullptr && head->field(":status") == "200") {
      CHECK_FALSE(f.to_client.ended(1));
      CHECK(f.to_client.reset_code(1) > 0);
    } else {
      CHECK((f.to_client.reset_code(1) > 0 || head->field(":status") == "502"));
    }
  }
}
