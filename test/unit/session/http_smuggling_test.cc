// What leaves weir is read again by readers that are lenient in the ways that smuggling lives on:
// lines that end with a bare LF, Transfer-Encoding before Content-Length whatever it says, or the
// other way round. None of them may find another message than weir has judged. The input is made
// by mutation, seeded: the same in each run. WEIR_MUTATIONS in the environment makes it longer.
#include "test/unit/session/http_fixture.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using test::HttpFixture;

namespace {

enum class Lenience { kBareLf, kCodingFirst, kLengthFirst };

struct Message {
  std::string start;
  bool whole = false;
};

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) {
    return c == '_' ? '-' : static_cast<char>(std::tolower(c));
  });
  return out;
}

class LenientReader {
public:
  LenientReader(std::string_view bytes, Lenience lenience) : x_rest(bytes), x_lenience(lenience) {}

  // answers: statuses without a body, and bodies until the end, are known.
  std::vector<Message> read(bool answers) {
    std::vector<Message> out;
    while (!x_rest.empty()) {
      Message message;
      if (!line(message.start)) {
        break;
      }
      if (message.start.empty()) {
        continue;
      }
      out.push_back(message);
      out.back().whole = rest_of(message.start, answers);
      if (!out.back().whole) {
        break;
      }
    }
    return out;
  }

private:
  bool line(std::string& out) {
    const std::string_view end = x_lenience == Lenience::kBareLf ? "\n" : "\r\n";
    const std::size_t at = x_rest.find(end);
    if (at == std::string_view::npos) {
      x_rest = {};
      return false;
    }
    out = x_rest.substr(0, at);
    x_rest.remove_prefix(at + end.size());
    while (!out.empty() && out.back() == '\r') {
      out.pop_back();
    }
    return true;
  }

  bool rest_of(const std::string& start, bool answers) {
    bool chunked = false;
    long long length = -1;
    for (std::string field;;) {
      if (!line(field)) {
        return false;
      }
      if (field.empty()) {
        break;
      }
      const std::size_t colon = field.find(':');
      std::string name = lowered(field.substr(0, colon));
      name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c == ' '; }),
                 name.end());
      const std::string value =
          colon == std::string::npos ? std::string() : lowered(field.substr(colon + 1));
      if (name == "transfer-encoding" && value.find("chunked") != std::string::npos) {
        chunked = true;
      } else if (name == "content-length" && length < 0) {
        length = std::strtoll(value.c_str(), nullptr, 10);
      }
    }
    if (answers && (start.find(" 204") == 8 || start.find(" 304") == 8 || start.find(" 1") == 8)) {
      return true;
    }
    if (chunked && (x_lenience != Lenience::kLengthFirst || length < 0)) {
      return chunks();
    }
    if (length < 0) {
      if (answers) {
        x_rest = {};
      }
      return true;
    }
    if (x_rest.size() < static_cast<std::size_t>(length)) {
      return false;
    }
    x_rest.remove_prefix(static_cast<std::size_t>(length));
    return true;
  }

  bool chunks() {
    for (std::string size_line;;) {
      if (!line(size_line)) {
        return false;
      }
      const unsigned long long size = std::strtoull(size_line.c_str(), nullptr, 16);
      if (size == 0) {
        break;
      }
      if (x_rest.size() < size) {
        return false;
      }
      x_rest.remove_prefix(size);
      if (!line(size_line)) {
        return false;
      }
    }
    for (std::string trailer; line(trailer);) {
      if (trailer.empty()) {
        return true;
      }
    }
    return false;
  }

  std::string_view x_rest;
  Lenience x_lenience;
};

constexpr Lenience kLeniences[] = {Lenience::kBareLf, Lenience::kCodingFirst,
                                   Lenience::kLengthFirst};

class Mutator {
public:
  explicit Mutator(std::uint32_t seed) : x_random(seed) {}

  std::size_t below(std::size_t count) { return x_random() % count; }
  std::string mutate(std::string text, std::span<const std::string_view> tokens) {
    for (std::size_t i = 0, count = 1 + below(4); i < count; ++i) {
      const std::size_t at = below(text.size() + 1);
      switch (below(5)) {
      case 0:
        text.insert(at, tokens[below(tokens.size())]);
        break;
      case 1:
        text.erase(at, 1 + below(3));
        break;
      case 2:
        if (at < text.size()) {
          text[at] = static_cast<char>(below(256));
        }
        break;
      case 3: { // a token where a line begins
        const std::size_t line = text.find("\r\n", at);
        text.insert(line == std::string::npos ? text.size() : line + 2,
                    tokens[below(tokens.size())]);
        break;
      }
      case 4: { // a piece twice
        const std::string piece = text.substr(at, 1 + below(20));
        text.insert(below(text.size() + 1), piece);
        break;
      }
      }
    }
    return text;
  }

private:
  std::mt19937 x_random;
};

std::size_t rounds(std::size_t in_ci) {
  const char* wanted = std::getenv("WEIR_MUTATIONS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : in_ci;
}

constexpr std::string_view kRequests[] = {
    "GET /public HTTP/1.1\r\nHost: shop\r\n\r\n",
    "POST /public HTTP/1.1\r\nHost: shop\r\nContent-Length: 34\r\n\r\n"
    "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n",
    "POST /public HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
    "22;a=b\r\nGET /admin HTTP/1.1\r\nHost: shop\r\n\r\n\r\n0\r\nX: y\r\n\r\n",
    "GET /public/../public/%61 HTTP/1.1\r\nHost: shop\r\nX-A: b\r\nConnection: x-a\r\n\r\n",
    "POST /public HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "GET /public HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n",
    "GET http://shop/public HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
};

constexpr std::string_view kTokens[] = {
    "\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    ":",
    ";",
    ",",
    std::string_view("\0", 1),
    "\x0b",
    "\xa0",
    "%",
    "%2e%2e/",
    "../",
    "#",
    "0",
    "0\r\n\r\n",
    "+",
    "-",
    "0x",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content_Length: 7\r\n",
    "content-length : 3\r\n",
    "Content-Length: 5, 5\r\n",
    "Connection: content-length, transfer-encoding\r\n",
    "Host: other\r\n",
    "Upgrade: h2c\r\n",
    "GET /admin HTTP/1.1\r\nHost: shop\r\n\r\n",
    "GET /admin HTTP/1.1\r\nX: ",
    "HTTP/1.1",
    "HTTP/1.0",
};

} // namespace

TEST_CASE("the lenient readers find what strict ones do not") {
  const std::string_view smuggled =
      "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK(LenientReader(smuggled, Lenience::kCodingFirst).read(false).size() == 2);
  CHECK(LenientReader("GET /public HTTP/1.1\r\nA: b\n\nGET /admin HTTP/1.1\n\n", Lenience::kBareLf)
            .read(false)
            .size() == 2);
  CHECK(LenientReader("POST / HTTP/1.1\r\nContent-Length : 0\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "GET /admin HTTP/1.1\r\n\r\n",
                      Lenience::kLengthFirst)
            .read(false)
            .size() == 2);
}

TEST_CASE("W8: no lenient server finds a request that weir has not judged and allowed") {
  std::size_t forwarded = 0, refused = 0;
  const std::size_t count = rounds(4000);
  for (std::uint32_t seed = 1; seed <= count; ++seed) {
    Mutator mutator(seed);
    std::string input;
    for (std::size_t i = 0, requests = 1 + mutator.below(3); i < requests; ++i) {
      const std::string request(kRequests[mutator.below(std::size(kRequests))]);
      input += mutator.below(3) == 0 ? request : mutator.mutate(request, kTokens);
    }
    CAPTURE(seed, input);
    HttpFixture f(1 + mutator.below(input.size()), 1 + mutator.below(200));
    f.send(input);
    std::vector<std::string> received(8);
    for (int round = 0; round < 8; ++round) {
      bool any = false;
      for (std::size_t i = 0; i < f.upstream.connections(); ++i) {
        const std::string bytes = f.upstream.connection(i).take();
        received[i] += bytes;
        any = any || !bytes.empty();
      }
      if (any) {
        f.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
      f.poll();
    }
    std::size_t allowed_at_most = f.judge.allowed_paths.size();
    for (const Lenience lenience : kLeniences) {
      std::size_t found = 0;
      for (const std::string& bytes : received) {
        for (const Message& message : LenientReader(bytes, lenience).read(false)) {
          ++found;
          const std::size_t path = message.start.find(' ') + 1;
          const std::string target = message.start.substr(path, message.start.rfind(' ') - path);
          CAPTURE(message.start);
          REQUIRE(std::find(f.judge.allowed_paths.begin(), f.judge.allowed_paths.end(), target) !=
                  f.judge.allowed_paths.end());
        }
      }
      REQUIRE(found <= allowed_at_most);
      forwarded += found;
    }
    refused += f.log.lines.empty() ? 0 : f.log.lines.back().verdict == AccessVerdict::kError;
  }
  // The mutations have to reach both sides.
  CHECK(forwarded > count);
  CHECK(refused > count / 10);
}

TEST_CASE("W12: no lenient client finds an answer to a request that it has not sent") {
  constexpr std::string_view kAnswers[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      "25\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n0\r\nX: y\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  };
  constexpr std::string_view kGet = "GET /public HTTP/1.1\r\nHost: shop\r\n\r\n";
  std::size_t passed = 0, refused = 0;
  const std::size_t count = rounds(3000);
  for (std::uint32_t seed = 1; seed <= count; ++seed) {
    Mutator mutator(seed);
    HttpFixture f;
    f.upstream.fragment = 1 + mutator.below(100);
    f.send(std::string(kGet) + std::string(kGet));
    std::string got;
    for (int i = 0; i < 2 && f.upstream.connections() > 0; ++i) {
      const std::string answer(kAnswers[mutator.below(std::size(kAnswers))]);
      got += f.answer(mutator.below(3) == 0 ? answer : mutator.mutate(answer, kTokens));
    }
    f.upstream.last().end();
    f.poll();
    got += f.peer->take();
    CAPTURE(seed, got);
    for (const Lenience lenience : kLeniences) {
      std::size_t finals = 0;
      for (const Message& message : LenientReader(got, lenience).read(true)) {
        finals += message.start.find(" 1") != 8;
      }
      REQUIRE(finals <= 2);
    }
    for (const auto& line : f.log.lines) {
      ++(line.verdict == AccessVerdict::kError ? refused : passed);
    }
  }
  CHECK(passed > count / 10);
  CHECK(refused > count / 10);
}
