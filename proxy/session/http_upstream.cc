#include "proxy/session/http_upstream.h"

#include "proxy/session/connect_failure.h"

namespace weir::session {
namespace asio = boost::asio;

asio::awaitable<bool> HttpUpstream::connect(HttpExchange& exchange) {
  drop();
  net::Connector::Connected connected = co_await x_connector->connect();
  if (exchange.cut) {
    co_return false;
  }
  if (connected.error) {
    x_service.metrics.upstream_connect_failures.add();
    const ConnectFailure failure = connect_failure(connected.error);
    exchange.fail(failure.status, failure.reason);
    co_return false;
  }
  x_service.metrics.upstream_connections_opened.add();
  x_stream = std::move(connected.stream);
  co_return true;
}

void HttpUpstream::settle(const HttpExchange& exchange) {
  if (!received.empty()) {
    // An answer to nothing. What would come next could not be trusted to be the next answer.
    x_service.metrics.upstream_protocol_errors.add();
    drop();
    return;
  }
  if (!exchange.request_body.done()) {
    drop();
    return;
  }
  received = {};
  x_reused = true;
  if (!exchange.response_facts.keep_alive) {
    leave(exchange);
    x_stream.reset();
    x_reused = false;
  }
}

// An orderly end would leave its port of the pod's address in TIME_WAIT, of which there are some
// 28,000 to one server: with a connection a request they are used up in seconds. A server that has
// answered a request without a body has read all of it, so nothing is lost by a reset.
void HttpUpstream::leave(const HttpExchange& exchange) {
  if (!x_stream) {
    return;
  }
  if (exchange.has_body()) {
    x_stream->close();
  } else {
    x_stream->abort();
  }
}

void HttpUpstream::drop() {
  abort();
  x_stream.reset();
  x_reused = false;
  received = {};
}

void HttpUpstream::cancel() {
  if (x_stream) {
    x_stream->cancel();
  }
}

void HttpUpstream::abort() {
  if (x_stream) {
    x_stream->abort();
  }
}

} // namespace weir::session
