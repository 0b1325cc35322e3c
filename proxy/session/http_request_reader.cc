#include "proxy/session/http_request_reader.h"

#include "proxy/http2/frame.h"

#include <boost/asio/error.hpp>

#include <string_view>

namespace weir::session {
namespace asio = boost::asio;
using Phase = HttpStreams::Phase;

HttpRequestReader::HttpRequestReader(HttpService& service, HttpStreams& streams,
                                     HttpExchange& exchange)
    : x_service(service), x_streams(streams), x_exchange(exchange),
      x_parser({service.config.max_head, service.config.max_target, service.config.max_headers}),
      x_may_be_http2(service.http2 != nullptr) {}

asio::awaitable<HttpRequestReader::Input> HttpRequestReader::read() {
  ReadBuffer& received = x_streams.from_client;
  received.open(x_service.pool);
  if (received.empty()) {
    received.restart();
    if (x_service.drain_list.draining()) {
      co_return Input::kEnd;
    }
    x_streams.enter(Phase::kIdle, x_service.config.idle_timeout);
  } else {
    received.make_room_for_head();
    x_streams.enter(Phase::kHead, x_service.config.head_timeout);
  }
  x_parser.reset();
  for (;;) {
    if (has_preface()) {
      co_return Input::kHttp2;
    }
    if (!received.empty() && !x_may_be_http2) {
      const http::ParseStatus status = x_parser.parse(received.view(), x_exchange.request);
      if (status == http::ParseStatus::kRefused) {
        x_service.metrics.http_parse_errors.add();
        x_exchange.begin();
        x_exchange.fail(x_parser.refusal().status, x_parser.refusal().reason);
        co_return Input::kRefused;
      }
      if (status == http::ParseStatus::kDone) {
        x_exchange.begin();
        received.begin += x_parser.head_size();
        x_exchange.body_at = received.begin;
        x_exchange.bytes_in = x_parser.head_size();
        co_return Input::kRequest;
      }
    }
    const net::IoResult read = co_await x_streams.client->read_some(received.room());
    if (read.error) {
      co_return no_more(read.error);
    }
    received.end += read.bytes;
    if (x_streams.phase() == Phase::kIdle) {
      x_streams.enter(Phase::kHead, x_service.config.head_timeout);
    }
  }
}

bool HttpRequestReader::has_preface() {
  if (!x_may_be_http2 || x_streams.from_client.empty()) {
    return false;
  }
  const std::string_view begun = x_streams.from_client.view().substr(0, http2::kPreface.size());
  x_may_be_http2 = http2::kPreface.starts_with(begun);
  return x_may_be_http2 && begun.size() == http2::kPreface.size();
}

HttpRequestReader::Input HttpRequestReader::no_more(net::ErrorCode error) {
  const bool in_head = x_streams.phase() == Phase::kHead;
  if (in_head && x_streams.timed_out()) {
    x_exchange.begin();
    x_exchange.fail(408, "head-timeout");
    return Input::kRefused;
  }
  // Between requests every end is a good one: the client's, the idle time's, weir's own.
  const bool reset = error != asio::error::eof && error != asio::error::operation_aborted;
  return !in_head && !reset ? Input::kEnd : Input::kBroken;
}

} // namespace weir::session
