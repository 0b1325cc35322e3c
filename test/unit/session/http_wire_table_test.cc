// A table of requests and one of answers, by the rows of the security checklist: what becomes of
// each, cut at each byte, and before and behind another message on the same connection.
#include "test/unit/session/http_fixture.h"

#include "proxy/http/body.h"

#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using namespace std::chrono_literals;
using test::HttpFixture;

namespace {

constexpr std::string_view kGet = "GET /public HTTP/1.1\r\nHost: shop\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Request {
  std::string id, bytes;
  // 200: forwarded, and answered by the server; another one: weir's own answer.
  int status = 0;
  // What the server sees, chunks taken apart; of a request that weir answers itself: nothing.
  std::string forwarded = {};
  bool ends = false; // the connection ends after the answer
};

const std::string kHost = "Host: shop\r\n";
const std::string kGetHost = "GET /public HTTP/1.1\r\n" + kHost;
const std::string kPostHost = "POST /public HTTP/1.1\r\n" + kHost;
const std::string kChunked = kPostHost + "Transfer-Encoding: chunked\r\n\r\n";

const std::string kPlain = "GET /public HTTP/1.1\r\nHost: shop\r\n\r\n";

const std::vector<Request> kRequests = {
    {"H1", "GET /public/../admin HTTP/1.1\r\n" + kHost + "\r\n", 403},
    {"H1", "GET /admin/../public HTTP/1.1\r\n" + kHost + "\r\n", 200, kPlain},
    {"H2", "GET /public/%2e%2e/admin HTTP/1.1\r\n" + kHost + "\r\n", 403},
    {"H2", "GET /public/%252e%252e/admin HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H3", "GET //public HTTP/1.1\r\n" + kHost + "\r\n", 200, kPlain},
    {"H4", "GET /public%2f..%2fadmin HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H4", "GET /public\\..\\admin HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H5", "GET /public/..;a=b/admin HTTP/1.1\r\n" + kHost + "\r\n", 403},
    {"H6", "GET /admin#/public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H7", "GET /public?/../admin HTTP/1.1\r\n" + kHost + "\r\n", 200,
     "GET /public?/../admin HTTP/1.1\r\nHost: shop\r\n\r\n"},
    {"H8", "GET /public\x80 HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H8", "GET /public\x7f HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H8", "GET /public\t HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H9", "GET http://SHOP/public HTTP/1.1\r\n" + kHost + "\r\n", 200, kPlain},
    {"H9", "GET http://other/public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H10", "GET public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H10", "GET /../public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H10", "GET /%c0%ae HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H11", "GET /%70%75blic/./a//b?c HTTP/1.1\r\n" + kHost + "\r\n", 200,
     "GET /public/a/b?c HTTP/1.1\r\nHost: shop\r\n\r\n"},
    {"H12", "get /public HTTP/1.1\r\n" + kHost + "\r\n", 200,
     "get /public HTTP/1.1\r\nHost: shop\r\n\r\n"},
    {"H12", "GE(T /public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"H13", "GET /public HTTP/1.1\r\nHost: SHOP.\r\n\r\n", 200, kPlain},
    {"H13", "GET /public HTTP/1.1\r\nHost: user@shop\r\n\r\n", 400},
    {"H13", "GET /public HTTP/1.1\r\nHost: shop\r\nHost: shop\r\n\r\n", 400},
    {"H13", "GET /public HTTP/1.1\r\nHost:\r\n\r\n", 400},
    {"H13", "GET /public HTTP/1.1\r\nHost: shop/admin\r\n\r\n", 400},
    {"H13", "GET /public HTTP/1.1\r\nHost: shop:99999\r\n\r\n", 400},

    {"W1", kPostHost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"W1", kPostHost + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
    {"W1", kPostHost + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length: 5, 5\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length:\r\n\r\n", 400},
    {"W1", kPostHost + "Content-Length: +5\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length: -0\r\n\r\n", 400},
    {"W1", kPostHost + "Content-Length: 0x5\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length: 5_0\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length: 18446744073709551621\r\n\r\nhello", 400},
    {"W1", kPostHost + "Content-Length:  5 \r\n\r\nhello", 200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"},
    {"W1", kPostHost + "Content_Length: 3\r\nContent-Length: 5\r\n\r\nhello", 200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"},
    {"W2", kPostHost + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: identity\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400},
    {"W2", kPostHost + "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
    {"W2", kPostHost + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
    {"W2",
     kPostHost + "Transfer-Encoding: \x0b"
                 "chunked\r\n\r\n0\r\n\r\n",
     400},
    {"W2", "POST /public HTTP/1.0\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400},
    {"W2", kPostHost + "Transfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n", 200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\nab"},
    {"W3", kChunked + "02;a=\"b;c\"\r\nab\r\n0\r\n\r\n", 200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\nab"},
    {"W3", kChunked + "A\r\n0123456789\r\n000\r\nX: y\r\n\r\n", 200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0123456789"},
    {"W3", kChunked + "0x2\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "+2\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "-2\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + " 2\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "2_0\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "10000000000000002\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "2\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "2;a\nb\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "2;a\rb\r\nab\r\n0\r\n\r\n", 400},
    {"W3", kChunked + "2\r\nab0\r\n\r\n", 400},
    {"W3", kChunked + "2\r\nab\n0\r\n\r\n", 400},
    {"W3", kChunked + "0\r\nX : y\r\n\r\n", 400},
    {"W3", kChunked + "0\r\nX: y\n\r\n", 400},
    {"W3", kChunked + "0\r\n X: y\r\n\r\n", 400},
    {"W4", "GET /public HTTP/1.1\n" + kHost + "\r\n", 400},
    {"W4", "GET /public HTTP/1.1\r\nHost: shop\n\r\n", 400},
    {"W4", "GET /public HTTP/1.1\r\nHost: shop\r\n\n", 400},
    {"W4", "GET /public HTTP/1.1\rHost: shop\r\n\r\n", 400},
    {"W4", kGetHost + "X: a\rb\r\n\r\n", 400},
    {"W4", kGetHost + "X\r\n\r\n", 400},
    {"W4", kGetHost + "X : a\r\n\r\n", 400},
    {"W4", kGetHost + ": a\r\n\r\n", 400},
    {"W4", "GET /public HTTP/1.1\r\n Host: shop\r\n\r\n", 400},
    {"W4", kGetHost + "X: a\r\n b\r\n\r\n", 400},
    {"W4", kGetHost + "X: a\r\n\tb\r\n\r\n", 400},
    {"W4", kGetHost + std::string("X: a\0b\r\n\r\n", 10), 400},
    {"W4", kGetHost + std::string("X\0: a\r\n\r\n", 9), 400},
    {"W4", kGetHost + "X\x80: a\r\n\r\n", 400},
    {"W5", "GET /public HTTP/1.10\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public HTTP/01.1\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public HTTP/2.0\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public HTTP/0.9\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public http/1.1\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public HTTP/1.1 \r\n" + kHost + "\r\n", 400},
    {"W5", "GET  /public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"W5", "GET\t/public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"W5", " GET /public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"W5", "GET /public\r\n\r\n", 400},
    {"W5", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
    {"W5", "\r\nGET /public HTTP/1.1\r\n" + kHost + "\r\n", 200, kPlain},
    {"W5", "\nGET /public HTTP/1.1\r\n" + kHost + "\r\n", 400},
    {"W8", kPostHost + "Content-Length: 38\r\n\r\nGET /admin HTTP/1.1\r\nHost: shop\r\n\r\nabc",
     200,
     "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 38\r\n\r\n"
     "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\nabc"},
    {"W9", kGetHost + "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n", 200, kPlain},
    {"W10", kGetHost + "Expect: 200-ok\r\n\r\n", 417},
    {"W10", "GET /public HTTP/1.0\r\n" + kHost + "Expect: 100-continue\r\n\r\n", 200, kPlain, true},
    {"W13",
     kGetHost + "X-Weir-A: b\r\nx_envoy_c: d\r\nForwarded: for=a\r\nX_Forwarded-For: b\r\n\r\n",
     200, kPlain},
    {"hop-by-hop",
     kGetHost + "Connection: x-a, host, content-length\r\nX-A: b\r\nKeep-Alive: a\r\n"
                "Proxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n\r\n",
     200, "GET /public HTTP/1.1\r\nHost: shop\r\nTE: trailers\r\nConnection: te\r\n\r\n"},
    {"close", kGetHost + "Connection: close\r\n\r\n", 200, kPlain, true},
    {"HTTP/1.0", "GET /public HTTP/1.0\r\n" + kHost + "\r\n", 200, kPlain, true},
    {"HTTP/1.0", "GET /public HTTP/1.0\r\n" + kHost + "Connection: Keep-Alive\r\n\r\n", 200,
     kPlain},
};

int status_of(std::string_view answer) {
  return answer.size() < 12 ? 0 : std::stoi(std::string(answer.substr(9, 3)));
}

// Chunk sizes depend on the cuts, what they carry does not.
std::string without_chunks(std::string_view message, std::string* rest = nullptr) {
  const std::size_t head = message.find("\r\n\r\n");
  if (head == std::string_view::npos ||
      message.substr(0, head).find("Transfer-Encoding: chunked") == std::string_view::npos) {
    return std::string(message);
  }
  http::BodyReader reader;
  reader.start({http::Framing::Kind::kChunked, 0, false});
  std::string bytes(message.substr(head + 4));
  const auto taken = reader.take(bytes.data(), bytes.size());
  REQUIRE(reader.done());
  if (rest != nullptr) {
    *rest = bytes.substr(taken.consumed);
  }
  return std::string(message.substr(0, head + 4)) + std::string(taken.payload);
}

// One row on a connection that is at rest.
void run(HttpFixture& f, const Request& row, std::size_t cut) {
  const std::size_t connections = f.upstream.connections();
  std::string answer = f.send(row.bytes.substr(0, cut));
  if (cut < row.bytes.size()) {
    answer += f.send(row.bytes.substr(cut));
  }
  if (row.status == 200) {
    REQUIRE(f.upstream.connections() > 0);
    REQUIRE(answer.empty());
    REQUIRE(without_chunks(f.server_got()) == row.forwarded);
    answer = f.answer(kOk);
    REQUIRE(status_of(answer) == 200);
  } else {
    REQUIRE(status_of(answer) == row.status);
    // Chunks can turn out malformed when the head is on its way already. The server must not take
    // what it has seen for a whole request.
    if (f.upstream.connections() > connections) {
      REQUIRE(f.upstream.last().was_reset());
      REQUIRE(f.server_got().find("0\r\n\r\n") == std::string::npos);
    } else if (connections > 0 && !f.upstream.last().was_reset()) {
      REQUIRE(f.server_got().empty());
    }
  }
  REQUIRE(answer.find("HTTP/1.1 ", 9) == std::string::npos);
  const bool ends = row.ends || (row.status != 200 && row.status != 403);
  REQUIRE(f.peer->ended() == ends);
}

} // namespace

TEST_CASE("H and W: each request of the table, cut at each byte") {
  for (const Request& row : kRequests) {
    for (std::size_t cut = 1; cut <= row.bytes.size(); ++cut) {
      CAPTURE(row.id, row.bytes, cut);
      HttpFixture f;
      run(f, row, cut);
      f.pass(2s);
      if (f.peer->ended()) {
        REQUIRE(f.over());
      }
    }
  }
}

TEST_CASE("H and W: each request of the table, behind each other one") {
  for (const Request& first : kRequests) {
    for (const Request& second : kRequests) {
      CAPTURE(first.id, first.bytes, second.id, second.bytes);
      HttpFixture f;
      run(f, first, first.bytes.size());
      if (f.peer->ended()) {
        REQUIRE(f.send(second.bytes).empty());
        break;
      }
      run(f, second, second.bytes.size());
    }
  }
}

TEST_CASE("H and W: each request of the table, sent at once with the one before it") {
  for (const Request& row : kRequests) {
    CAPTURE(row.id, row.bytes);
    HttpFixture f;
    REQUIRE(f.send(std::string(kGet) + std::string(row.bytes) + std::string(kGet)).empty());
    REQUIRE(f.server_got() == kGet);
    std::string answer = f.answer(kOk);
    REQUIRE(answer.starts_with(kOk));
    answer.erase(0, kOk.size());
    if (row.status == 200) {
      REQUIRE(answer.empty());
      REQUIRE(without_chunks(f.server_got()) == row.forwarded);
      answer = f.answer(kOk);
    }
    REQUIRE(status_of(answer) == row.status);
    const bool ends = row.ends || (row.status != 200 && row.status != 403);
    REQUIRE(f.peer->ended() == ends);
    if (!ends) {
      REQUIRE(f.server_got() == kGet);
    } else if (!f.upstream.last().was_reset()) {
      REQUIRE(f.server_got().empty());
    }
  }
}

namespace {

struct Answer {
  std::string id, bytes;
  // 502: weir's own, nothing of the server's. 0: that, or cut off when it has begun already.
  int status = 200;
  std::string passed_on = {}; // empty: as it came
};

const std::string kOkHead = "HTTP/1.1 200 OK\r\n";
const std::string kOkChunked = kOkHead + "Transfer-Encoding: chunked\r\n\r\n";

const std::vector<Answer> kAnswers = {
    {"plain", kOkHead + "Content-Length: 2\r\n\r\nok"},
    {"plain", kOkHead + "Content-Length: 0\r\n\r\n"},
    {"plain", "HTTP/1.1 404 Not There\r\nX: y\r\nContent-Length: 2\r\n\r\nno", 404},
    {"reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200,
     "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"},
    {"chunked", kOkChunked + "2\r\nok\r\n0\r\n\r\n", 200, kOkChunked + "ok"},
    {"1xx", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + kOkHead + "Content-Length: 2\r\n\r\nok",
     103},
    {"W12", "HTTP/1.1 204 No Content\r\n\r\n", 204},
    {"W12", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304},
    {"W12", kOkHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502},
    {"W12", kOkHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502},
    {"W12", kOkHead + "Content-Length: 2, 2\r\n\r\nok", 502},
    {"W12", kOkHead + "Content-Length: +2\r\n\r\nok", 502},
    {"W12", kOkHead + "Content-Length:\r\n\r\n", 502},
    {"W12", kOkHead + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 502},
    {"W12", kOkHead + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 502},
    {"W12", "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", "HTTP/1.1 2000 High\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", 502},
    {"W12", kOkHead + "Content-Length: 0\n\r\n", 502},
    {"W12", kOkHead + "Content-Length : 0\r\n\r\n", 502},
    {"W12", kOkHead + " Content-Length: 0\r\n\r\n", 502},
    {"W12", kOkHead + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", kOkHead + "X: a\rb\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", kOkHead + "X\r\nContent-Length: 0\r\n\r\n", 502},
    {"W12", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", 502},
    {"W12", "garbage\r\n\r\n", 502},
    {"W3", kOkChunked + "0x2\r\nok\r\n0\r\n\r\n", 0},
    {"W3", kOkChunked + "2\nok\r\n0\r\n\r\n", 0},
    {"W3", kOkChunked + "2\r\nok0\r\n\r\n", 0},
};

void run(HttpFixture& f, const Answer& row, std::size_t cut) {
  f.send(kGet);
  REQUIRE(f.server_got() == kGet);
  std::string got = f.answer(row.bytes.substr(0, cut));
  if (cut < row.bytes.size() && !f.upstream.last().was_reset()) {
    got += f.answer(row.bytes.substr(cut));
  }
  if (row.status == 0 && f.peer->was_reset()) {
    REQUIRE(got.find("0\r\n\r\n") == std::string::npos);
    return;
  }
  REQUIRE_FALSE(f.peer->was_reset());
  const bool bad = row.status == 0 || row.status == 502;
  if (bad) {
    REQUIRE(status_of(got) == 502);
    REQUIRE(f.upstream.last().was_reset());
  } else {
    REQUIRE(without_chunks(got) == (row.passed_on.empty() ? row.bytes : row.passed_on));
  }
  REQUIRE(f.peer->ended() == bad);
}

} // namespace

TEST_CASE("W12: each answer of the table, cut at each byte") {
  for (const Answer& row : kAnswers) {
    for (std::size_t cut = 1; cut <= row.bytes.size(); ++cut) {
      CAPTURE(row.id, row.bytes, cut);
      HttpFixture f;
      run(f, row, cut);
    }
  }
}

TEST_CASE("W12: each answer of the table, behind each other one") {
  for (const Answer& first : kAnswers) {
    for (const Answer& second : kAnswers) {
      CAPTURE(first.id, first.bytes, second.id, second.bytes);
      HttpFixture f;
      run(f, first, first.bytes.size());
      if (f.peer->ended() || f.peer->was_reset()) {
        break;
      }
      run(f, second, second.bytes.size());
    }
  }
}
