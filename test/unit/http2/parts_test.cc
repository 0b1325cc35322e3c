// The parts that need no connection: frame headers, buckets, heads, queues.
#include "proxy/http2/body_queue.h"
#include "proxy/http2/budget.h"
#include "proxy/http2/frame_scanner.h"
#include "proxy/http2/message.h"
#include "test/unit/http2/frames.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::test;
using namespace std::chrono_literals;
using http2::FrameScanner;
using http2::FrameType;

namespace {

std::vector<http2::FrameHeader> scan(FrameScanner& scanner, std::string_view bytes,
                                     std::size_t piece) {
  std::vector<http2::FrameHeader> found;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view part = bytes.substr(at, piece);
    while (!part.empty()) {
      const FrameScanner::Step step =
          scanner.next({reinterpret_cast<const std::uint8_t*>(part.data()), part.size()});
      part.remove_prefix(step.taken);
      if (step.complete) {
        found.push_back(scanner.header());
      } else {
        CHECK(part.empty());
      }
    }
  }
  return found;
}

http2::RequestHead head_of(const Pairs& fields) {
  http2::RequestHead head;
  for (const auto& [name, value] : fields) {
    head.received.add({name, value}, 100000, 1000);
  }
  return head;
}

} // namespace

TEST_CASE("The scanner finds every frame, however the bytes are cut") {
  const std::string bytes =
      hello() + data(1, "hello", true) + data(1, "", false) +
      frame(FrameType::kData, http2::kFlagPadded, 3, std::string("\x02hi\0\0", 5)) +
      frame(FrameType::kData, http2::kFlagPadded, 3, std::string("\x03\0\0\0", 4)) +
      frame(FrameType::kData, http2::kFlagPadded, 3, "") + frame(0xfe, 0xff, 0xffffffff, "abc");
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameScanner scanner(http2::kPreface.size());
    const auto found = scan(scanner, bytes, piece);
    REQUIRE(found.size() == 7);
    CHECK(found[0].type == FrameType::kSettings);
    CHECK(found[1].data_length == 5);
    CHECK(found[1].has(http2::kFlagEndStream));
    CHECK(found[2].data_length == 0);
    CHECK(found[3].length == 5);
    CHECK(found[3].data_length == 2);
    CHECK(found[4].data_length == 0);
    CHECK(found[5].data_length == 0);
    CHECK(found[6].stream == 0x7fffffff);
    CHECK_FALSE(scanner.inside_frame());
  }
}

TEST_CASE("The scanner knows when a frame is not whole") {
  const std::string bytes = ping();
  FrameScanner scanner(0);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    scan(scanner, bytes.substr(i, 1), 1);
    CHECK(scanner.inside_frame() == (i + 1 < bytes.size()));
  }
}

TEST_CASE("A bucket gives its burst, then its rate, and never more than its burst after a pause") {
  http2::TokenBucket bucket({10, 5});
  http2::TimePoint now{1h};
  const auto take_all = [&] {
    int taken = 0;
    while (bucket.take(now)) {
      ++taken;
    }
    return taken;
  };
  CHECK(take_all() == 10);
  now += 100ms;
  CHECK(take_all() == 0);
  now += 100ms; // together 200 ms
  CHECK(take_all() == 1);
  now += 1s;
  CHECK(take_all() == 5);
  now += 1h;
  CHECK(take_all() == 10);
  bucket.earn(3);
  CHECK(take_all() == 3);
  bucket.earn(1000);
  CHECK(take_all() == 20);
  // A clock that stands still or goes back gives nothing.
  now -= 1h;
  CHECK(take_all() == 0);
}

TEST_CASE("A field list leaves out what goes beyond its bounds, and says so") {
  http2::FieldList list;
  list.add({"a", "1"}, 70, 10);
  list.add({"b", "2", true}, 70, 10);
  CHECK(list.size() == 2);
  CHECK_FALSE(list.overflow());
  CHECK(list[1].name == "b");
  CHECK(list[1].never_index);
  list.add({"c", "3"}, 70, 10);
  CHECK(list.size() == 2);
  CHECK(list.overflow());
  list.clear();
  CHECK_FALSE(list.overflow());
  list.add({"a", "1"}, 1000, 1);
  list.add({"b", "1"}, 1000, 1);
  CHECK(list.overflow());
}

TEST_CASE("A body queue gives bytes in order and keeps no more than it must") {
  http2::BodyQueue queue;
  std::string in, out;
  for (std::size_t i = 0; i < 1000; ++i) {
    const std::string piece(1 + i % 97, static_cast<char>('a' + i % 26));
    in += piece;
    queue.append({reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
    const std::size_t taken = std::min<std::size_t>(queue.size(), i % 113);
    const auto front = queue.front(taken);
    out.append(reinterpret_cast<const char*>(front.data()), front.size());
    queue.pop(taken);
  }
  const auto rest = queue.front(queue.size());
  out.append(reinterpret_cast<const char*>(rest.data()), rest.size());
  CHECK((in == out));
}

TEST_CASE("examine refuses by itself what nghttp2 would have refused before it") {
  struct Case {
    Pairs fields;
    const char* reason;
  };
  const auto with = [](Pairs more) { return request("GET", "/", std::move(more)); };
  const Case cases[] = {
      {with({{"X-Upper", "1"}}), "malformed-field-name"},
      {with({{"a b", "1"}}), "malformed-field-name"},
      {with({{"", "1"}}), "malformed-field-name"},
      {with({{"a", "b\r\nc: d"}}), "malformed-field-value"},
      {with({{"a", std::string("b\0", 2)}}), "malformed-field-value"},
      {with({{"a", " b"}}), "malformed-field-value"},
      {with({{"connection", "close"}}), "connection-specific-field"},
      {with({{"transfer-encoding", "chunked"}}), "connection-specific-field"},
      {with({{"upgrade", "h2c"}}), "connection-specific-field"},
      {with({{"te", "gzip"}}), "malformed-te"},
      {with({{"content-length", "1"}, {"content-length", "1"}}), "several-content-lengths"},
      {with({{"content-length", "1,1"}}), "malformed-content-length"},
      {with({{"content-length", ""}}), "malformed-content-length"},
      {with({{"host", "a"}, {"host", "a"}}), "several-hosts"},
      {with({{":path", "/admin"}}), "repeated-pseudo-field"},
      {with({{"a", "b"}, {":path", "/admin"}}), "repeated-pseudo-field"},
      {with({{":protocol", "websocket"}}), "unknown-pseudo-field"},
      {{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}}, "malformed-target"},
      {{{":method", "G T"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}},
       "malformed-method"},
      {{{":scheme", "http"}, {":authority", "h"}, {":path", "/"}}, "malformed-method"},
      {{{":method", "GET"}, {":authority", "h"}, {":path", "/"}}, "malformed-scheme"},
      {{{":method", "GET"}, {":scheme", "http"}, {":authority", "a@b"}, {":path", "/"}},
       "malformed-host"},
  };
  for (const Case& each : cases) {
    INFO(each.reason);
    http2::RequestHead head = head_of(each.fields);
    const http::Refusal refusal = examine(head, http2::Limits{});
    CHECK(refusal.status == 400);
    if (each.fields.back().first != ":path" || each.fields.size() != 6) {
      CHECK(refusal.reason == each.reason);
    }
  }
}

TEST_CASE("Policy sees no framing, and the server is sent what policy saw and the framing") {
  http2::RequestHead head = head_of(request(
      "POST", "/a",
      {{"content-length", "5"}, {"te", "trailers"}, {"x", "y"}, {"expect", "100-Continue"}}));
  REQUIRE_FALSE(examine(head, http2::Limits{}));
  REQUIRE(head.fields.size() == 1);
  CHECK(head.fields[0].name == "x");
  std::vector<http2::Field> sent;
  write_fields(head, sent);
  Pairs pairs;
  for (const http2::Field& field : sent) {
    pairs.emplace_back(field.name, field.value);
  }
  CHECK(pairs == Pairs{{":method", "POST"},
                       {":scheme", "http"},
                       {":authority", "shop.test"},
                       {":path", "/a"},
                       {"x", "y"},
                       {"content-length", "5"},
                       {"te", "trailers"},
                       {"expect", "100-continue"}});
}

TEST_CASE("OPTIONS * is about the server as such") {
  http2::RequestHead head = head_of(request("OPTIONS", "*"));
  REQUIRE_FALSE(examine(head, http2::Limits{}));
  CHECK(head.path == "*");
}

TEST_CASE("weir's own answers speak gRPC to gRPC and carry no injected field") {
  http2::RequestHead grpc =
      head_of(request("POST", "/a.B/C", {{"content-type", "application/grpc"}}));
  REQUIRE_FALSE(examine(grpc, http2::Limits{}));
  for (const auto& [status, expected] :
       {std::pair{403, "7"}, {400, "13"}, {405, "12"}, {431, "8"}, {502, "14"}, {503, "14"}}) {
    const http2::OwnAnswer own(status, "", "", grpc);
    CHECK(own.fields[0].value == "200");
    CHECK(own.fields[3].value == expected);
    CHECK(own.body.empty());
  }
  http2::RequestHead head = head_of(request("HEAD"));
  REQUIRE_FALSE(examine(head, http2::Limits{}));
  const http2::OwnAnswer own(403, "shop/api\r\nx: y", "", head);
  CHECK(own.body.empty());
  for (const http2::Field& field : own.fields) {
    CHECK(field.name != "x-weir-denied-by");
  }
}
