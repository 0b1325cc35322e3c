#include "test/unit/http2/session_fixture.h"

#include <boost/asio/error.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace weir;
using namespace weir::test;
using http2::ErrorCode;
using http2::FrameType;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
std::string hello_rest() { return settings() + settings_ack(); }
Pairs ok() { return {{":status", "200"}}; }
} // namespace

TEST_CASE("A session carries requests and answers, cut at every length") {
  const std::size_t fragment = GENERATE(1u, 2u, 3u, 7u, 64u, 1u << 20);
  SessionFixture f(fragment);
  f.send(hello_rest() + headers(1, request("POST", "/a"), false) + data(1, "question", true) +
         headers(3, request("GET", "/admin"), true));
  REQUIRE(f.upstream.connections() == 1);
  f.serve(settings() + settings_ack());
  CHECK(f.to_server[0]->body(1) == "question");
  CHECK(f.to_server[0]->count(FrameType::kHeaders) == 1);
  f.serve(headers(1, ok(), false) + data(1, "answer", true));
  CHECK(f.to_client.body(1) == "answer");
  CHECK(f.to_client.body(3) == "Access denied\r\n");
  CHECK_FALSE(f.over());
}

TEST_CASE("A client that leaves while nothing runs is closed quietly, the server too") {
  SessionFixture f;
  f.send(hello_rest() + headers(1, request(), true));
  f.serve(settings() + settings_ack());
  f.serve(headers(1, ok(), true));
  f.client->end();
  f.poll();
  CHECK(f.over());
  CHECK(f.client->ended());
  CHECK(f.upstream.last().ended());
}

TEST_CASE("A client that leaves in the middle resets the stream at the server") {
  SessionFixture f;
  f.send(hello_rest() + headers(1, request("POST"), false) + data(1, "half", false));
  f.serve(settings() + settings_ack());
  const bool rudely = GENERATE(false, true);
  if (rudely) {
    f.client->reset();
  } else {
    f.client->end();
  }
  f.poll();
  CHECK(f.over());
  CHECK(f.to_server[0]->body(1) == "half");
  CHECK_FALSE(f.to_server[0]->ended(1));
  CHECK(f.to_server[0]->reset_code(1) == static_cast<int>(ErrorCode::kCancel));
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].reason == "client-closed");
}

TEST_CASE("Servers that are refused, unreachable or too slow give 503 and 504") {
  struct Case {
    net::ErrorCode error;
    const char* status;
    const char* reason;
  };
  for (const Case& each :
       {Case{boost::asio::error::connection_refused, "503", "upstream-refused"},
        Case{boost::asio::error::host_unreachable, "503", "upstream-unreachable"},
        Case{boost::asio::error::timed_out, "504", "upstream-connect-timeout"}}) {
    SessionFixture f;
    f.upstream.refuse_with = each.error;
    f.send(hello_rest() + headers(1, request(), true));
    CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == each.status);
    CHECK(f.log.lines.at(0).reason == each.reason);
    // The client's connection goes on, and the server may have come back.
    f.upstream.refuse_with = {};
    f.send(headers(3, request(), true));
    REQUIRE(f.upstream.connections() == 1);
    f.serve(settings() + settings_ack());
    f.serve(headers(1, ok(), true));
    CHECK(f.to_client.find(FrameType::kHeaders, 3)->field(":status") == "200");
  }
}

TEST_CASE("A server that closes ends its streams, and the next stream finds a new connection") {
  SessionFixture f;
  f.send(hello_rest() + headers(1, request(), true));
  f.serve(settings() + settings_ack());
  const bool rudely = GENERATE(false, true);
  if (rudely) {
    f.upstream.last().reset();
  } else {
    f.upstream.last().end();
  }
  f.poll();
  CHECK(f.to_client.find(FrameType::kHeaders, 1)->field(":status") == "502");
  CHECK(f.log.lines.at(0).reason == "upstream-closed");
  f.send(headers(3, request(), true));
  CHECK(f.upstream.connections() == 2);
}

TEST_CASE("A flooding client is told why, and closed after its last bytes were read") {
  SessionFixture f;
  f.send(hello_rest());
  std::string pings;
  for (int i = 0; i < 300; ++i) {
    pings += ping();
  }
  f.send(pings);
  CHECK(f.to_client.goaway_code() == static_cast<int>(ErrorCode::kEnhanceYourCalm));
  CHECK(f.client->ended());
  CHECK_FALSE(f.over()); // reads what is still on its way
  f.client->end();
  f.poll();
  CHECK(f.over());
}

TEST_CASE("Lingering over a client that was told to go has an end") {
  SessionFixture f;
  f.send(hello_rest() + frame(FrameType::kData, 0, 0, "x"));
  CHECK(f.to_client.goaway_code() == static_cast<int>(ErrorCode::kProtocolError));
  f.pass(seconds(2));
  CHECK(f.over());
}

TEST_CASE("X6: A client that takes no byte at all is ended by the write timeout") {
  SessionFixture f;
  f.client->limit(100);
  f.client->write(hello_rest() + headers(1, request("GET", "/admin"), true) +
                  headers(3, request("GET", "/admin"), true));
  for (int i = 0; i < 40 && !f.over(); ++i) {
    f.now += seconds(1);
    f.service.watchdog.tick(f.now);
    f.context.restart();
    f.context.poll();
  }
  CHECK(f.over());
  CHECK(f.metrics.http2_stalls.value() == 1);
  CHECK(f.client->was_reset());
}

TEST_CASE("A client that floods and reads nothing does not keep its session") {
  SessionFixture f;
  f.client->limit(100);
  std::string pings;
  for (int i = 0; i < 300; ++i) {
    pings += ping();
  }
  f.client->write(hello_rest() + pings);
  for (int i = 0; i < 40 && !f.over(); ++i) {
    f.now += seconds(1);
    f.service.watchdog.tick(f.now);
    f.context.restart();
    f.context.poll();
  }
  CHECK(f.over());
}

TEST_CASE("A client with a full socket gets all of a long answer, in order") {
  SessionFixture f;
  f.client->limit(1000);
  f.send(hello_rest() + window_update(0, 1 << 20) + headers(1, request(), true) +
         window_update(1, 1 << 20));
  f.serve(settings() + settings_ack());
  f.serve(headers(1, ok(), false));
  std::string body;
  for (int i = 0; i < 20; ++i) {
    const std::string piece(10000, static_cast<char>('a' + i));
    body += piece;
    f.serve(data(1, piece, i == 19));
  }
  for (int i = 0; i < 1000 && !f.to_client.ended(1); ++i) {
    f.poll();
  }
  CHECK(f.to_client.body(1) == body);
}

TEST_CASE("X9: Draining ends an idle session, and a busy one after its streams") {
  SessionFixture f;
  const bool busy = GENERATE(false, true);
  f.send(hello_rest());
  if (busy) {
    f.send(headers(1, request(), true));
    f.serve(settings() + settings_ack());
  }
  f.service.drain_list.drain();
  f.poll();
  CHECK(f.to_client.goaway_code() == 0);
  f.pass(seconds(2));
  if (busy) {
    CHECK_FALSE(f.client->ended());
    f.serve(headers(1, ok(), true));
  }
  CHECK(f.to_client.ended(1) == busy);
  CHECK(f.client->ended());
  f.client->end();
  f.poll();
  CHECK(f.over());
}

TEST_CASE("X9: A change of policy is noticed while nothing is sent") {
  SessionFixture f;
  f.send(hello_rest() + headers(1, request(), true));
  f.serve(settings() + settings_ack());
  f.serve(headers(1, ok(), false));
  f.judge->allows = [](const policy::HttpRequest&) { return false; };
  f.pass(milliseconds(400));
  CHECK(f.to_client.reset_code(1) == static_cast<int>(ErrorCode::kCancel));
  CHECK(f.to_server[0]->reset_code(1) == static_cast<int>(ErrorCode::kCancel));
}

TEST_CASE("A session ends at once when its gate is closed, whatever it was doing") {
  SessionFixture f;
  const int state = GENERATE(0, 1, 2, 3);
  if (state >= 1) {
    f.send(hello_rest());
  }
  if (state >= 2) {
    f.send(headers(1, request("POST"), false));
  }
  if (state >= 3) {
    f.serve(settings() + settings_ack());
    f.send(data(1, "half", false));
  }
  f.gate.close();
  f.poll();
  CHECK(f.over());
  CHECK(f.client->was_reset());
}
