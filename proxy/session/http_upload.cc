#include "proxy/session/http_upload.h"

#include "proxy/session/http_body_part.h"

#include <boost/asio/this_coro.hpp>

namespace weir::session {
namespace asio = boost::asio;

void HttpUpload::add_part(net::Gather& gather, std::string_view payload) {
  // A request's trailers are not passed on (body.h).
  add_body_part(gather, x_exchange.facts.body.kind, x_chunk, payload,
                x_exchange.request_body.done(), {});
}

net::Gather HttpUpload::beginning() {
  net::Gather gather{x_exchange.request_out};
  if (x_exchange.has_body()) {
    x_streams.expect_body(x_exchange.facts.body);
    add_part(gather, x_exchange.first_part);
  }
  return gather;
}

void HttpUpload::prepare() {
  x_running = true;
  x_answer_ended = false;
  x_refusal = {};
}

asio::awaitable<void> HttpUpload::run() {
  co_await asio::this_coro::throw_if_cancelled(false);
  ReadBuffer& received = x_streams.from_client;
  net::Stream& upstream = x_streams.upstream.stream();
  net::Gather gather = beginning();
  net::ErrorCode error;
  for (;;) {
    if (!net::write_now(upstream, gather, error)) {
      error = co_await net::write_rest(upstream, gather);
    }
    // A server that stops reading may have answered already; the download finds out.
    if (error || x_exchange.request_body.done() || x_answer_ended) {
      break;
    }
    received.restart(x_exchange.body_at);
    const net::IoResult read = co_await x_streams.client->read_some(received.room());
    if (x_answer_ended) {
      received.end += read.bytes;
      break;
    }
    if (read.error) {
      cut_off();
      break;
    }
    x_streams.progress();
    received.end += read.bytes;
    const auto taken = x_exchange.request_body.take(received.data(), received.size());
    received.begin += taken.consumed;
    x_exchange.bytes_in += taken.consumed;
    if (x_exchange.request_body.failed()) {
      x_refusal = {400, "malformed-body"};
      upstream.abort();
      break;
    }
    gather = {};
    add_part(gather, taken.payload);
  }
  x_running = false;
}

void HttpUpload::cut_off() {
  if (x_streams.timed_out()) {
    x_refusal = {408, "body-timeout"};
  } else if (!x_exchange.cut) {
    x_exchange.client_gone = true;
  }
  x_streams.upstream.abort();
}

void HttpUpload::answer_has_ended() {
  x_answer_ended = true;
  if (x_running) {
    x_streams.client->cancel();
    x_streams.upstream.cancel();
  }
}

} // namespace weir::session
