#include "policy-compiler/runtime/http_matcher.h"
#include "test/unit/session/http_fixture.h"

#include <boost/asio/error.hpp>

#include <string>
#include <string_view>

using namespace weir;
using namespace std::chrono_literals;
using test::HttpFixture;
using test::kDenied;

namespace {

constexpr std::string_view kGet = "GET /public HTTP/1.1\r\nHost: shop\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string status_line(std::string_view answer) {
  return std::string(answer.substr(0, answer.find("\r\n")));
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

} // namespace

TEST_CASE(
    "H11: an allowed request reaches the server in canonical form and its answer comes back") {
  HttpFixture f;
  CHECK(
      f.send("GET /x/../public/%61?q HTTP/1.1\r\nHost: SHOP.\r\nX-Weir-Fake: 1\r\nA: b\r\n\r\n") ==
      "");
  CHECK(f.server_got() == "GET /public/a?q HTTP/1.1\r\nHost: shop\r\nA: b\r\n\r\n");
  CHECK(f.judge.last_path == "/public/a?q");
  CHECK(f.judge.last_host == "shop");
  CHECK(f.judge.last_fields == std::vector<std::string>{"A"});
  CHECK(f.answer(kOk) == kOk);
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kAllowed);
  CHECK(f.log.lines[0].status == 200);
  CHECK(f.log.lines[0].path == "/public/a?q");
  CHECK(f.metrics.http_requests[0][200].value() == 1);
  CHECK_FALSE(f.over());
}

TEST_CASE("one connection to the server serves the requests of one client in turn") {
  HttpFixture f;
  for (int i = 0; i < 3; ++i) {
    f.send(kGet);
    CHECK(f.server_got() == kGet);
    CHECK(f.answer(kOk) == kOk);
  }
  CHECK(f.upstream.connections() == 1);
}

TEST_CASE("a denied request is answered 403 and not a byte of it reaches any server") {
  HttpFixture f;
  CHECK(f.send("GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n") == kDenied);
  CHECK(f.upstream.connections() == 0);
  REQUIRE(f.log.lines.size() == 1);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kDenied);
  CHECK(f.log.lines[0].denied_by == "shop/api");
  CHECK(f.log.lines[0].reason == "path");
  // The connection goes on, and so does the judging.
  f.send(kGet);
  CHECK(f.server_got() == kGet);
}

TEST_CASE("W7: pipelined requests are judged each and answered in order") {
  HttpFixture f;
  f.send(std::string(kGet) + "POST /admin HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\nabc" +
         std::string(kGet));
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == std::string(kOk) + std::string(kDenied));
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.judge.judged == 3);
}

TEST_CASE("W7: a denied request whose body is still coming ends the connection") {
  HttpFixture f;
  const std::string answer =
      f.send("POST /admin HTTP/1.1\r\nHost: shop\r\nContent-Length: 30\r\n\r\nGET /public");
  CHECK(status_line(answer) == "HTTP/1.1 403 Forbidden");
  CHECK(contains(answer, "Connection: close\r\n"));
  CHECK(f.peer->ended());
  CHECK(f.send(std::string(" HTTP/1.1\r\nHost: shop\r\n\r\n") + std::string(kGet)) == "");
  CHECK(f.upstream.connections() == 0);
  f.pass(2s);
  CHECK(f.over());
}

TEST_CASE("W8: what stands in the body of an allowed request never becomes a request") {
  HttpFixture f;
  const std::string smuggled = "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n";
  const std::string post =
      "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: " + std::to_string(smuggled.size()) +
      "\r\n\r\n" + smuggled;
  f.send(post);
  CHECK(f.server_got() == post);
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.judge.judged == 1);
}

TEST_CASE("W1 to W5: what is malformed is answered 400, nothing of it forwarded, then the end") {
  for (const std::string_view bytes : {
           std::string_view("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
           std::string_view("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                            "Content-Length: 5\r\n\r\nhello"),
           std::string_view("POST /public HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
           std::string_view(
               "POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
           std::string_view("POST /public HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "0\r\n\r\n"),
           std::string_view("POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "5\nhello\r\n0\r\n\r\n"),
           std::string_view("GET /public HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
           std::string_view("GET /public HTTP/1.1\nHost: a\n\n"),
           std::string_view("GET /public HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
           std::string_view("GET /public HTTP/1.1\r\n\r\n"),
           std::string_view("GET /public HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
           std::string_view("GET http://other/public HTTP/1.1\r\nHost: a\r\n\r\n"),
           std::string_view("GET /public%2fx HTTP/1.1\r\nHost: a\r\n\r\n"),
           std::string_view("GET /public\r\n\r\n"),
           std::string_view("GET /public HTTP/1.10\r\nHost: a\r\n\r\n"),
           std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
           std::string_view("\x16\x03\x01\x02\x00\x01\x00", 7),
       }) {
    CAPTURE(bytes);
    for (std::size_t split = 1; split <= bytes.size(); ++split) {
      HttpFixture f(split, 1 << 20);
      const std::string answer = f.send(bytes);
      REQUIRE(status_line(answer) == "HTTP/1.1 400 Bad Request");
      REQUIRE(contains(answer, "Connection: close\r\n"));
      REQUIRE(answer.find("HTTP/1.1", 8) == std::string::npos);
      REQUIRE(f.peer->ended());
      // A chunk can turn out malformed when the first bytes of the request are on their way; the
      // server then sees it cut off, never complete.
      if (f.upstream.connections() != 0) {
        REQUIRE(f.upstream.last().was_reset());
        REQUIRE_FALSE(contains(f.server_got(), "0\r\n\r\n"));
      }
      REQUIRE(f.log.lines.size() == 1);
      REQUIRE(f.log.lines[0].verdict == AccessVerdict::kError);
      REQUIRE_FALSE(f.log.lines[0].reason.empty());
      f.pass(2s);
      REQUIRE(f.over());
    }
  }
}

TEST_CASE("requests and answers are the same however the bytes were cut") {
  const std::string post =
      "POST /public/x HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;e=1\r\nabc\r\n4\r\ndefg\r\n0\r\nT: x\r\n\r\n";
  const std::string all = std::string(kGet) + post + "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n";
  const std::string_view chunked_answer =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n";
  const auto without_chunks = [](std::string_view text) {
    // Chunk sizes depend on the cuts, the joined payload does not.
    http::BodyReader reader;
    reader.start({http::Framing::Kind::kChunked, 0, false});
    const std::size_t body = text.find("\r\n\r\n") + 4;
    std::string bytes(text.substr(body));
    const auto taken = reader.take(bytes.data(), bytes.size());
    CHECK(reader.done());
    return std::string(text.substr(0, body)) + std::string(taken.payload) + "|" +
           bytes.substr(taken.consumed);
  };
  for (std::size_t split = 1; split < all.size(); ++split) {
    for (const std::size_t then : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20}) {
      CAPTURE(split, then);
      HttpFixture f(split, then);
      f.upstream.fragment = then;
      f.send(all);
      REQUIRE(f.server_got() == kGet);
      REQUIRE(f.answer(kOk) == kOk);
      REQUIRE(
          without_chunks(f.server_got()) ==
          "POST /public/x HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\nabcdefg|");
      REQUIRE(without_chunks(f.answer(chunked_answer)) ==
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok!|" + std::string(kDenied));
      REQUIRE(f.upstream.connections() == 1);
    }
  }
}

TEST_CASE("a long body streams through while the answer is awaited") {
  HttpFixture f;
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 300000\r\n\r\n");
  std::string got = f.server_got();
  CHECK(got == "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 300000\r\n\r\n");
  std::string sent;
  for (int i = 0; i < 30; ++i) {
    const std::string part(10000, static_cast<char>('a' + i % 26));
    f.send(part);
    sent += part;
    REQUIRE(f.server_got() == part);
  }
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.log.lines.at(0).bytes_in > 300000);
  f.send(kGet);
  CHECK(f.server_got() == kGet);
}

TEST_CASE("a server that does not read stops the client") {
  HttpFixture f;
  f.upstream.limit = 1000;
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n");
  f.send(std::string(900000, 'x'));
  f.peer->write(std::string(100000, 'y'));
  std::size_t total = f.server_got().size();
  CHECK(total == 1000);
  for (int i = 0; i < 2000 && total < 1000065; ++i) {
    f.poll();
    total += f.server_got().size();
  }
  CHECK(total == std::string_view("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000"
                                  "\r\n\r\n")
                         .size() +
                     1000000);
}

TEST_CASE("a client that does not read stops the server") {
  HttpFixture f;
  f.send(kGet);
  f.peer->limit(500);
  f.upstream.last().write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" +
                          std::string(100000, 'x'));
  f.poll();
  std::string got = f.peer->take();
  CHECK(got.size() == 500);
  for (int i = 0; i < 1000; ++i) {
    f.poll();
    got += f.peer->take();
  }
  CHECK(got.ends_with(std::string(100000, 'x')));
}

TEST_CASE("W10: Expect: 100-continue is judged before the body and its answer passed on") {
  HttpFixture f;
  const std::string head =
      "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
  CHECK(f.send(head) == "");
  CHECK(f.server_got() == head);
  CHECK(f.answer("HTTP/1.1 100 Continue\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  f.send("hello");
  CHECK(f.server_got() == "hello");
  CHECK(f.answer(kOk) == kOk);

  HttpFixture denied;
  const std::string answer = denied.send(
      "POST /admin HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  CHECK(status_line(answer) == "HTTP/1.1 403 Forbidden");
  CHECK(denied.upstream.connections() == 0);
}

TEST_CASE("W10: a final answer before the body ends the connection after it") {
  HttpFixture f;
  f.send(
      "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  CHECK(f.answer("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n") ==
        "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
  CHECK(f.peer->ended());
  CHECK(f.upstream.last().was_reset());
  f.pass(2s);
  CHECK(f.over());
}

TEST_CASE("interim answers are passed on, but not without end and not to HTTP/1.0") {
  HttpFixture f;
  f.send(kGet);
  CHECK(f.answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n") ==
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
  CHECK(f.answer(kOk) == kOk);

  HttpFixture flood;
  flood.send(kGet);
  std::string many;
  for (int i = 0; i < 100; ++i) {
    many += "HTTP/1.1 100 Continue\r\n\r\n";
  }
  CHECK(contains(flood.answer(many), "HTTP/1.1 502 Bad Gateway"));

  HttpFixture old;
  old.send("GET /public HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(old.server_got() == "GET /public HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
  CHECK(old.answer("HTTP/1.1 100 Continue\r\n\r\n" + std::string(kOk)) ==
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
  CHECK_FALSE(old.over());
}

TEST_CASE("an HTTP/1.0 client that keeps its connection is told of it when it is denied, too") {
  HttpFixture f;
  const std::string denied = "GET /admin HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  for (int i = 0; i < 2; ++i) {
    const std::string answer = f.send(denied);
    CHECK(status_line(answer) == "HTTP/1.1 403 Forbidden");
    CHECK(contains(answer, "Connection: keep-alive\r\n"));
    CHECK_FALSE(f.peer->ended());
  }
  CHECK(contains(f.send("GET /admin HTTP/1.0\r\n\r\n"), "Connection: close\r\n"));
  CHECK(f.over());
}

TEST_CASE("an HTTP/1.0 client gets a chunked body without chunks, ended by the connection") {
  HttpFixture f;
  f.send("GET /public HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n");
  CHECK(f.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n") ==
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok");
  CHECK(f.peer->ended());
  CHECK(f.over());
}

TEST_CASE("a body that ends with the connection is passed on so, and only a whole one ends well") {
  HttpFixture f;
  f.send(kGet);
  CHECK(f.answer("HTTP/1.1 200 OK\r\n\r\nabc") ==
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
  CHECK_FALSE(f.peer->ended());
  f.upstream.last().end();
  f.poll();
  CHECK(f.peer->ended());
  CHECK(f.over());

  HttpFixture cut;
  cut.send(kGet);
  cut.answer("HTTP/1.1 200 OK\r\n\r\nabc");
  cut.upstream.last().reset();
  cut.poll();
  CHECK(cut.peer->was_reset());
}

TEST_CASE("an answer that is cut off is cut off for the client too") {
  for (const std::string_view begin :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    HttpFixture f;
    f.send(kGet);
    f.answer(begin);
    f.upstream.last().end();
    f.poll();
    CHECK(f.peer->was_reset());
    CHECK(f.log.lines.at(0).verdict == AccessVerdict::kError);
  }
  HttpFixture malformed;
  malformed.send(kGet);
  malformed.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  malformed.answer("zz\r\n");
  CHECK(malformed.peer->was_reset());
}

TEST_CASE("a request that is cut off is cut off for the server too") {
  for (const bool orderly : {true, false}) {
    HttpFixture f;
    f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
    orderly ? f.peer->end() : f.peer->reset();
    f.poll();
    CHECK(f.upstream.last().was_reset());
    CHECK(f.over());
    CHECK(f.log.lines.at(0).reason == "client-gone");
  }
}

TEST_CASE("a client that goes while the answer comes leaves nothing running") {
  HttpFixture f;
  f.send(kGet);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  f.peer->reset();
  f.answer("def");
  CHECK(f.over());
  CHECK(f.upstream.last().was_reset());
}

TEST_CASE("W12: malformed answers become 502 and end the connection") {
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\nA: b\n\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "SSH-2.0\r\n"}) {
    CAPTURE(answer);
    HttpFixture f;
    f.send(kGet);
    const std::string got = f.answer(answer);
    CHECK(status_line(got) == "HTTP/1.1 502 Bad Gateway");
    CHECK(contains(got, "Connection: close\r\n"));
    CHECK(f.peer->ended());
    CHECK(f.upstream.last().was_reset());
    CHECK(f.metrics.upstream_protocol_errors.value() == 1);
  }
}

TEST_CASE("W12: bytes behind an answer never become the next answer") {
  HttpFixture f;
  f.send(kGet);
  CHECK(f.answer(std::string(kOk) + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") == kOk);
  CHECK(f.upstream.last().was_reset());
  f.send(kGet);
  CHECK(f.upstream.connections() == 2);
  CHECK(f.answer(kOk) == kOk);
}

TEST_CASE("W12: HEAD, 204 and 304 have no body, and the next answer is read from the right place") {
  HttpFixture f;
  f.send("HEAD /public HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n") ==
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
  f.send(kGet);
  CHECK(f.answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n") ==
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
  f.send(kGet);
  CHECK(f.answer("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n") ==
        "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(f.upstream.connections() == 1);
}

TEST_CASE("W9: an upgrade becomes a tunnel after 101 with the same token, and not before") {
  HttpFixture f;
  const std::string upgrade = "GET /public HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\n"
                              "Upgrade: websocket\r\n\r\n";
  f.send(upgrade + "early");
  CHECK(f.server_got() == upgrade);
  const std::string switching =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
  CHECK(f.answer(switching + "hi") == switching + "hi");
  CHECK(f.server_got() == "early");
  f.send("\x81\x02more");
  CHECK(f.server_got() == "\x81\x02more");
  CHECK(f.answer("back") == "back");
  f.peer->end();
  f.poll();
  CHECK(f.upstream.last().ended());
  CHECK(f.answer("last") == "last");
  f.upstream.last().end();
  f.poll();
  CHECK(f.peer->ended());
  CHECK(f.over());
  CHECK(f.log.lines.at(0).status == 101);
}

TEST_CASE("W9: 200 to an upgrade opens no tunnel, another token is refused") {
  HttpFixture f;
  f.send("GET /public HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
         "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.answer(kOk) == std::string(kOk) + std::string(kDenied));

  HttpFixture other;
  other.send("GET /public HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n");
  CHECK(status_line(other.answer("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: b\r\n\r\n")) ==
        "HTTP/1.1 502 Bad Gateway");
}

TEST_CASE("X10: an upgrade to h2c is taken out of the request") {
  HttpFixture f;
  f.send("GET /public HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\n"
         "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n");
  CHECK(f.server_got() == kGet);
}

TEST_CASE("X11: where HTTP/2 is not spoken its preface is refused, and nothing is passed through") {
  HttpFixture f;
  f.service.http2 = {};
  // The preface, SETTINGS and a request whose bytes a server that speaks HTTP/2 would take.
  const std::string answer = f.send(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") +
                                    std::string("\0\0\0\4\0\0\0\0\0", 9) +
                                    std::string("\0\0\3\1\5\0\0\0\1\x82\x86\x84", 12));
  CHECK(status_line(answer) == "HTTP/1.1 400 Bad Request");
  CHECK(f.peer->ended());
  CHECK(f.upstream.connections() == 0);
  CHECK(f.log.lines.at(0).verdict == AccessVerdict::kError);
  CHECK(f.log.lines.at(0).reason == "http2-preface");
}

TEST_CASE("H10: CONNECT is refused, OPTIONS * is judged as the path *") {
  HttpFixture f;
  CHECK(status_line(f.send("CONNECT shop:80 HTTP/1.1\r\nHost: shop\r\n\r\n")) ==
        "HTTP/1.1 405 Method Not Allowed");
  HttpFixture options;
  options.send("OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(options.judge.last_path == "*");
  CHECK(options.server_got() == "OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n");
}

TEST_CASE("W6: what is too long is answered 414 or 431") {
  HttpFixture f;
  CHECK(status_line(f.send("GET /" + std::string(17000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n")) ==
        "HTTP/1.1 414 URI Too Long");
  HttpFixture head;
  CHECK(status_line(head.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(70000, 'a'))) ==
        "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_CASE(
    "R1 and R4: a head that does not get finished is answered 408, an idle connection is closed") {
  HttpFixture slow;
  slow.send("GET /public HTTP/1.1\r\n");
  for (int i = 0; i < 4; ++i) {
    slow.pass(3s);
    slow.send("X"); // one byte after the other gains no time
  }
  CHECK(slow.peer->ended());
  CHECK(slow.log.lines.at(0).status == 408);

  HttpFixture idle;
  idle.pass(299s);
  CHECK_FALSE(idle.over());
  idle.pass(2s);
  CHECK(idle.over());
  CHECK(idle.peer->ended());
  CHECK(idle.log.lines.empty());
}

TEST_CASE("R2: a body that stops coming is answered 408 and never whole for the server") {
  HttpFixture f;
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  f.pass(299s);
  CHECK(f.send("d") == "");
  f.pass(299s); // a byte is a sign of life
  CHECK_FALSE(f.over());
  f.pass(2s);
  CHECK(status_line(f.peer->take()) == "HTTP/1.1 408 Request Timeout");
  CHECK(f.upstream.last().was_reset());
  CHECK(f.server_got().ends_with("\r\n\r\nabcd"));
  CHECK(f.log.lines.at(0).status == 408);
  CHECK(f.log.lines.at(0).reason == "body-timeout");
}

TEST_CASE("R3: an answer that nobody reads ends with the idle time, for both sides") {
  HttpFixture f;
  f.peer->limit(100);
  f.send(kGet);
  f.upstream.last().write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" +
                          std::string(50000, 'x'));
  f.poll();
  f.pass(301s);
  CHECK(f.over());
  CHECK(f.peer->was_reset());
  CHECK(f.upstream.last().was_reset());
  CHECK(f.log.lines.at(0).verdict == AccessVerdict::kError);
}

TEST_CASE("a server that does not answer in time is 504, one that refuses 503") {
  HttpFixture silent;
  silent.send(kGet);
  silent.pass(301s);
  CHECK(status_line(silent.peer->take()) == "HTTP/1.1 504 Gateway Timeout");

  HttpFixture refused;
  refused.upstream.refuse_with = boost::asio::error::connection_refused;
  CHECK(status_line(refused.send(kGet)) == "HTTP/1.1 503 Service Unavailable");
  CHECK(refused.log.lines.at(0).reason == "upstream-refused");
  refused.upstream.refuse_with = {};
  refused.send(kGet);
  CHECK(refused.server_got() == kGet);

  HttpFixture late;
  late.upstream.refuse_with = boost::asio::error::timed_out;
  CHECK(status_line(late.send(kGet)) == "HTTP/1.1 504 Gateway Timeout");
}

TEST_CASE("a connection that the server closed between requests is opened again") {
  HttpFixture f;
  f.send(kGet);
  f.answer(kOk);
  f.upstream.last().end();
  f.poll();
  f.send(kGet);
  REQUIRE(f.upstream.connections() == 2);
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.log.lines.at(1).verdict == AccessVerdict::kAllowed);
  f.upstream.last().end();
  f.poll();
  const std::string post = "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\nx";
  f.send(post);
  REQUIRE(f.upstream.connections() == 3);
  CHECK(f.server_got() == post);
}

TEST_CASE("a request that may have been carried out is not repeated") {
  HttpFixture f;
  f.send(kGet);
  f.answer(kOk);
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\nx");
  f.upstream.last().end();
  f.poll();
  CHECK(status_line(f.peer->take()) == "HTTP/1.1 502 Bad Gateway");
  CHECK(f.upstream.connections() == 1);

  HttpFixture fresh;
  fresh.send(kGet);
  fresh.upstream.last().end();
  fresh.poll();
  CHECK(status_line(fresh.peer->take()) == "HTTP/1.1 502 Bad Gateway");
  CHECK(fresh.upstream.connections() == 1);
}

TEST_CASE("a policy change is felt by the next request of an open connection") {
  HttpFixture f;
  f.send(kGet);
  f.answer(kOk);
  f.judge.deny_all = true;
  CHECK(f.send(kGet) == kDenied);
  f.judge.deny_all = false;
  f.judge.open = false;
  CHECK(f.send(kGet) == "");
  CHECK(f.peer->was_reset());
  CHECK(f.over());
  CHECK(f.log.lines.back().verdict == AccessVerdict::kDenied);
}

TEST_CASE("draining ends idle connections at once and others after their request") {
  HttpFixture idle;
  idle.send(kGet);
  idle.answer(kOk);
  idle.service.drain_list.drain();
  idle.poll();
  CHECK(idle.peer->ended());
  CHECK(idle.over());

  HttpFixture busy;
  busy.send(kGet);
  busy.service.drain_list.drain();
  busy.poll();
  CHECK_FALSE(busy.over());
  CHECK(busy.answer(kOk) == "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  CHECK(busy.peer->ended());
  CHECK(busy.over());
}

TEST_CASE("a connection that the client wants closed is closed after the answer") {
  HttpFixture f;
  f.send("GET /public HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  CHECK(f.over());
  CHECK_FALSE(f.peer->was_reset());
}

TEST_CASE("a server's connection at rest is reset, but never with a body that may be unread") {
  for (const bool body : {false, true}) {
    HttpFixture f;
    f.send(body ? "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi" : kGet);
    CHECK(f.answer(kOk) == kOk);
    f.peer->end();
    f.poll();
    CHECK(f.over());
    CHECK(f.upstream.last().was_reset() == !body);
    CHECK(f.upstream.last().ended() == body);
    CHECK(f.peer->ended());
    CHECK_FALSE(f.peer->was_reset());
  }
}

TEST_CASE("the worker's end resets what is in the middle of a message") {
  HttpFixture f;
  f.send(kGet);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  f.gate.close();
  f.poll();
  CHECK(f.over());
  CHECK(f.peer->was_reset());

  HttpFixture uploading;
  uploading.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  uploading.gate.close();
  uploading.poll();
  CHECK(uploading.over());
  CHECK(uploading.upstream.last().was_reset());
}

TEST_CASE("W12: what a server says between requests is not taken for the next answer") {
  HttpFixture f;
  f.send(kGet);
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged") == "");
  f.send(kGet);
  REQUIRE(f.upstream.connections() == 2);
  CHECK(f.upstream.connection(0).was_reset());
  CHECK(f.server_got() == kGet);
  CHECK(f.answer(kOk) == kOk);
}

TEST_CASE("H12: a method that nobody knows is judged and forwarded as it was written") {
  HttpFixture f;
  f.send("BreW /public HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.server_got() == "BreW /public HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.log.lines.at(0).method == "BreW");
}

TEST_CASE("W3: an answer's trailers are passed on, a request's are not, nor to HTTP/1.0") {
  const std::string_view answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked"
                                  "\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";
  HttpFixture f;
  f.send("GET /public HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
  CHECK(f.server_got() ==
        "GET /public HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nConnection: te\r\n\r\n");
  CHECK(f.answer(answer) == answer);
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
         "\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n");
  CHECK(f.server_got() == "POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n"
                          "\r\n2\r\nhi\r\n0\r\n\r\n");
  CHECK(f.answer(kOk) == kOk);

  HttpFixture old;
  old.send("GET /public HTTP/1.0\r\n\r\n");
  CHECK(old.answer(answer).ends_with("\r\n\r\nok"));
}

TEST_CASE("a denial is explained to clients that ask for it, and only to these") {
  const auto denied = [](std::string_view accept, config::Denials denials) {
    HttpFixture f;
    f.config.denials = denials;
    return f.send("GET /admin HTTP/1.1\r\nHost: shop\r\n" + std::string(accept) + "\r\n");
  };
  const auto asked = "Accept: text/plain;q=0.5, application/problem+json\r\n";
  const std::string answer = denied(asked, config::Denials::kExplained);
  CHECK(status_line(answer) == "HTTP/1.1 403 Forbidden");
  CHECK(contains(answer, "Content-Type: application/problem+json\r\n"));
  CHECK(contains(answer, "x-weir-denied-by: shop/api\r\n"));
  CHECK(answer.ends_with("\r\n\r\n{\"type\":\"urn:weir:denied\",\"title\":\"Access denied\","
                         "\"status\":403,\"policy\":\"shop/api\",\"rule\":\"ingress rule 2\","
                         "\"reason\":\"path\",\"detail\":\"path `/admin` is not\"}\n"));
  CHECK(denied(asked, config::Denials::kPlain) == kDenied);
  CHECK(denied("Accept: */*\r\n", config::Denials::kExplained) == kDenied);
  CHECK(denied("", config::Denials::kExplained) == kDenied);
}

TEST_CASE("a request that an audited policy refuses passes and is told as AUDIT") {
  HttpFixture f;
  f.judge.audit = true;
  f.send("GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.server_got() == "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n");
  CHECK(f.answer(kOk) == kOk);
  f.send(kGet);
  CHECK(f.answer(kOk) == kOk);
  REQUIRE(f.log.lines.size() == 2);
  CHECK(f.log.lines[0].verdict == AccessVerdict::kAudit);
  CHECK(f.log.lines[0].denied_by == "shop/api");
  CHECK(f.log.lines[0].reason == "path");
  CHECK(f.log.lines[1].verdict == AccessVerdict::kAllowed);
  CHECK(f.log.lines[1].denied_by.empty());
  CHECK(f.metrics.http_requests[static_cast<int>(AccessVerdict::kAudit)][200].value() == 1);
}

TEST_CASE("a change of policy ends what is under way and no longer allowed, and nothing else") {
  constexpr std::string_view kUpgrade =
      "GET /public HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n";
  constexpr std::string_view kSwitch =
      "HTTP/1.1 101 Ok\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n";
  HttpFixture tunnel;
  tunnel.send(kUpgrade);
  CHECK(tunnel.server_got() == kUpgrade);
  CHECK(tunnel.answer(kSwitch) == kSwitch);
  tunnel.service.policy_watchers.policy_changed();
  tunnel.poll();
  CHECK(tunnel.send("still") == "");
  CHECK(tunnel.server_got() == "still");
  tunnel.judge.deny_all = true;
  tunnel.service.policy_watchers.policy_changed();
  tunnel.poll();
  CHECK(tunnel.over());
  CHECK(tunnel.peer->was_reset());
  CHECK(tunnel.upstream.last().was_reset());
  REQUIRE(tunnel.log.lines.size() == 1);
  CHECK(tunnel.log.lines[0].verdict == AccessVerdict::kDenied);
  CHECK(tunnel.metrics.http_policy_resets.value() == 1);

  HttpFixture waiting; // for the answer: there is still time to say it
  waiting.send(kGet);
  waiting.judge.deny_all = true;
  waiting.service.policy_watchers.policy_changed();
  waiting.poll();
  CHECK(status_line(waiting.peer->take()) == "HTTP/1.1 403 Forbidden");
  CHECK(waiting.upstream.last().was_reset());
  CHECK(waiting.log.lines.at(0).verdict == AccessVerdict::kDenied);

  HttpFixture halfway;
  halfway.send(kGet);
  halfway.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  halfway.judge.open = false;
  halfway.service.policy_watchers.policy_changed();
  halfway.poll();
  CHECK(halfway.peer->was_reset());
  CHECK(halfway.over());

  HttpFixture idle;
  idle.send(kGet);
  idle.answer(kOk);
  idle.judge.deny_all = true;
  idle.service.policy_watchers.policy_changed();
  idle.poll();
  CHECK_FALSE(idle.over());

  HttpFixture uploading;
  uploading.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
  uploading.judge.deny_all = true;
  uploading.service.policy_watchers.policy_changed();
  uploading.poll();
  CHECK(status_line(uploading.peer->take()) == "HTTP/1.1 403 Forbidden");
  CHECK(uploading.upstream.last().was_reset());
}

TEST_CASE("CONNECT is judged where that is configured, and opens a tunnel at 2xx only") {
  constexpr std::string_view kConnect = "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n";
  HttpFixture refused;
  CHECK(status_line(refused.send(kConnect)) == "HTTP/1.1 405 Method Not Allowed");
  CHECK(refused.upstream.connections() == 0);

  HttpFixture f;
  f.config.connect = config::Connect::kJudge;
  f.judge.allow_any_path = true;
  f.send(std::string(kConnect) + "early");
  CHECK(f.judge.last_path.empty());
  CHECK(f.judge.last_host == "shop:80");
  CHECK(f.server_got() == kConnect);
  CHECK(f.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") ==
        "HTTP/1.1 200 OK\r\n\r\nhello");
  CHECK(f.server_got() == "early");
  CHECK(f.send("more") == "");
  CHECK(f.server_got() == "more");

  HttpFixture no;
  no.config.connect = config::Connect::kJudge;
  no.judge.allow_any_path = true;
  no.send(std::string(kConnect) + std::string(kGet));
  CHECK(no.server_got() == kConnect);
  CHECK(contains(no.answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 407 No"));
  CHECK(no.server_got() == kGet); // a request like any other

  HttpFixture denied;
  denied.config.connect = config::Connect::kJudge;
  CHECK(status_line(denied.send(kConnect)) == "HTTP/1.1 403 Forbidden");
  for (const std::string_view bad :
       {"CONNECT shop HTTP/1.1\r\nHost: shop\r\n\r\n",
        "CONNECT /public HTTP/1.1\r\nHost: shop\r\n\r\n",
        "CONNECT shop:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
        "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\nContent-Length: 5\r\n\r\nhello"}) {
    HttpFixture malformed;
    malformed.config.connect = config::Connect::kJudge;
    malformed.judge.allow_any_path = true;
    CHECK(status_line(malformed.send(bad)) == "HTTP/1.1 400 Bad Request");
    CHECK(malformed.upstream.connections() == 0);
  }
}

TEST_CASE("headers that a rule wants otherwise are logged, added, deleted or replaced") {
  using Kind = policy::HeaderAction::Kind;
  const auto action = [](Kind kind, std::string name, std::optional<std::string> value) {
    return policy::HeaderAction{kind, {std::move(name), std::move(value), false, false}};
  };
  policy::HeaderActions actions{{
      action(Kind::kLog, "X-Trace", std::nullopt),
      action(Kind::kAdd, "X-Team", "blue"),
      action(Kind::kDelete, "X-Role", "user"),
      action(Kind::kReplace, "X-Env", "prod"),
      action(Kind::kReplace, "X-Fine", "yes"),
      action(Kind::kReplace, "Content-Length", "0"),
      action(Kind::kAdd, "X-Evil", "a\r\nHost: b"),
  }};
  HttpFixture f;
  f.judge.actions = &actions;
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nX-Role: admin\r\nx-env: dev\r\nX-Fine: yes\r\n"
         "Content-Length: 2\r\n\r\nhi");
  CHECK(f.server_got() == "POST /public HTTP/1.1\r\nHost: shop\r\nX-Fine: yes\r\nx-team: blue\r\n"
                          "x-env: prod\r\nContent-Length: 2\r\n\r\nhi");
  CHECK(f.answer(kOk) == kOk);
  CHECK(f.log.lines.at(0).header_mismatches == "X-Trace,X-Team,X-Role,X-Env,Content-Length,X-Evil");
  f.judge.actions = nullptr;
  f.send(kGet);
  CHECK(f.server_got() == kGet);
}

TEST_CASE("both connections know the length of a body before it passes") {
  HttpFixture f;
  f.send("POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 300000\r\n\r\n");
  CHECK(f.peer->expected() == 300'000);
  CHECK(f.upstream.last().expected() == 300'000);
  f.send(std::string(300'000, 'x'));
  CHECK(status_line(f.answer("HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n")) ==
        "HTTP/1.1 200 OK");
  CHECK(f.peer->expected() == 800'000);
  CHECK(f.upstream.last().expected() == 800'000);
}
