#include "proxy/session/http_download.h"

#include "proxy/http/ascii.h"
#include "proxy/session/http_body_part.h"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <string_view>

namespace weir::session {
namespace asio = boost::asio;

namespace {

// 100, 102 and 103 before an answer; a server that sends more is not making sense.
constexpr unsigned kMaxInterim = 16;

constexpr int kSwitchingProtocols = 101;

bool same_token(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return http::lower(x) == http::lower(y); });
}

} // namespace

HttpDownload::HttpDownload(HttpService& service, HttpStreams& streams, HttpExchange& exchange)
    : x_service(service), x_streams(streams), x_exchange(exchange),
      x_parser({service.config.max_head, service.config.max_target, service.config.max_headers}) {}

asio::awaitable<Outcome> HttpDownload::run() {
  ReadBuffer& received = x_streams.upstream.received;
  received.open(x_service.pool);
  net::ErrorCode error;

  bool any_byte = false;
  x_interim = 0;
  for (Head head = Head::kInterim; head != Head::kFinal;) {
    x_parser.reset();
    http::Refusal refusal;
    while (!parse_head(refusal)) {
      received.make_room_for_head();
      const net::IoResult read = co_await x_streams.upstream.stream().read_some(received.room());
      if (read.error) {
        co_return no_head(read.error, any_byte);
      }
      any_byte = true;
      received.end += read.bytes;
      x_streams.progress();
    }
    head = kind_of_head(refusal);
    if (head == Head::kRefused) {
      co_return refuse(refusal);
    }
    const bool passes = head == Head::kTunnel || x_exchange.client_speaks_http11();
    if (head == Head::kFinal || !passes) {
      continue; // HTTP/1.0 knows no interim answers (RFC 9110 §15.2)
    }
    net::Gather gather = passed_on(head);
    if (!net::write_now(*x_streams.client, gather, error)) {
      error = co_await net::write_rest(*x_streams.client, gather);
    }
    if (error) {
      co_return Outcome::kBroken;
    }
    if (head == Head::kTunnel) {
      co_return Outcome::kTunnel;
    }
  }

  net::Gather gather = begin_answer();
  for (;;) {
    if (!add_body_so_far(gather)) {
      co_return malformed_body();
    }
    if (!gather.empty()) {
      x_exchange.response_begun = true;
      if (x_exchange.response_body.done() && !x_exchange.keep_client) {
        x_streams.client->expect_end();
      }
      if (!net::write_now(*x_streams.client, gather, error)) {
        error = co_await net::write_rest(*x_streams.client, gather);
      }
      if (error) {
        co_return cut_off("client-gone");
      }
    }
    if (x_exchange.response_body.done()) {
      co_return Outcome::kDone;
    }
    gather = {};
    received.restart();
    x_streams.progress();
    const net::IoResult read = co_await x_streams.upstream.stream().read_some(received.room());
    if (read.error) {
      if (read.error == asio::error::eof && x_exchange.response_body.whole_at_end()) {
        co_return Outcome::kDone;
      }
      co_return cut_off(x_streams.timed_out() ? "timeout" : "upstream-closed");
    }
    received.end = read.bytes;
  }
}

bool HttpDownload::parse_head(http::Refusal& refusal) {
  ReadBuffer& received = x_streams.upstream.received;
  if (received.empty()) {
    return false;
  }
  switch (x_parser.parse(received.view(), x_exchange.response)) {
  case http::ParseStatus::kMore:
    return false;
  case http::ParseStatus::kRefused:
    refusal = x_parser.refusal();
    break;
  case http::ParseStatus::kDone:
    received.begin += x_parser.head_size();
    refusal = http::examine(x_exchange.response, x_exchange.request.method == "HEAD",
                            x_exchange.response_facts);
    break;
  }
  return true;
}

HttpDownload::Head HttpDownload::kind_of_head(http::Refusal& refusal) {
  const int status = x_exchange.response.status;
  if (!refusal && status == kSwitchingProtocols) {
    const std::string_view asked = x_exchange.facts.upgrade;
    if (!asked.empty() && same_token(asked, x_exchange.response_facts.upgrade)) {
      return Head::kTunnel;
    }
    refusal = {502, "upgrade-not-asked-for"};
  }
  if (!refusal && status < 200 && ++x_interim > kMaxInterim) {
    refusal = {502, "too-many-interim-answers"};
  }
  if (refusal) {
    return Head::kRefused;
  }
  if (status < 200) {
    return Head::kInterim;
  }
  return x_exchange.is_connect() && status < 300 ? Head::kTunnel : Head::kFinal;
}

Outcome HttpDownload::no_head(net::ErrorCode error, bool any_byte) {
  if (x_streams.timed_out()) {
    x_exchange.fail(504, "upstream-timeout");
    return Outcome::kFailed;
  }
  x_exchange.fail(502, "upstream-closed");
  const bool ended = error == asio::error::eof || error == asio::error::connection_reset ||
                     error == asio::error::broken_pipe;
  return !any_byte && ended ? Outcome::kNoAnswer : Outcome::kFailed;
}

Outcome HttpDownload::refuse(const http::Refusal& refusal) {
  x_service.metrics.upstream_protocol_errors.add();
  x_exchange.keep_client = false;
  x_exchange.fail(502, refusal.reason);
  return Outcome::kFailed;
}

net::Gather HttpDownload::passed_on(Head head) {
  const http::ResponseHead& response = x_exchange.response;
  std::string& out = x_exchange.response_out;
  out.clear();
  http::write_response_head(response, x_exchange.response_facts, {},
                            response.status == kSwitchingProtocols ? http::ConnectionField::kUpgrade
                                                                   : http::ConnectionField::kNone,
                            out);
  net::Gather gather{out};
  x_exchange.bytes_out += out.size();
  if (head == Head::kTunnel) {
    ReadBuffer& received = x_streams.upstream.received;
    gather.add(received.view());
    x_exchange.bytes_out += received.size();
    received.begin = received.end;
    x_exchange.status = response.status;
    x_exchange.response_begun = true;
  }
  return gather;
}

net::Gather HttpDownload::begin_answer() {
  x_framing = x_exchange.response_facts.body;
  if (x_framing.kind == http::Framing::Kind::kChunked && !x_exchange.client_speaks_http11()) {
    x_framing = {http::Framing::Kind::kUntilClose, 0, false};
  }
  x_exchange.keep_client = x_exchange.keep_client &&
                           x_framing.kind != http::Framing::Kind::kUntilClose &&
                           !x_service.drain_list.draining();
  x_exchange.status = x_exchange.response.status;
  // A first attempt on a connection that was gone has left its mark here.
  x_exchange.verdict = AccessVerdict::kAllowed;
  x_exchange.reason = {};
  x_exchange.response_out.clear();
  http::write_response_head(x_exchange.response, x_exchange.response_facts, x_framing,
                            x_exchange.client_connection(), x_exchange.response_out);
  x_exchange.bytes_out += x_exchange.response_out.size();
  x_exchange.response_body.start(x_exchange.response_facts.body);
  x_streams.expect_body(x_exchange.response_facts.body);
  return {x_exchange.response_out};
}

bool HttpDownload::add_body_so_far(net::Gather& gather) {
  ReadBuffer& received = x_streams.upstream.received;
  http::BodyReader& body = x_exchange.response_body;
  const auto taken = body.take(received.data(), received.size());
  received.begin += taken.consumed;
  if (body.failed()) {
    return false;
  }
  x_exchange.bytes_out += taken.payload.size();
  if (x_framing.kind != http::Framing::Kind::kNone) {
    add_body_part(gather, x_framing.kind, x_chunk, taken.payload, body.done(), body.trailers());
  }
  return true;
}

Outcome HttpDownload::malformed_body() {
  x_service.metrics.upstream_protocol_errors.add();
  if (x_exchange.response_begun) {
    return cut_off("malformed-body");
  }
  x_exchange.keep_client = false;
  x_exchange.fail(502, "malformed-body");
  return Outcome::kFailed;
}

// The status stays: the client has seen it.
Outcome HttpDownload::cut_off(std::string_view reason) {
  x_exchange.verdict = AccessVerdict::kError;
  x_exchange.reason = reason;
  return Outcome::kBroken;
}

} // namespace weir::session
