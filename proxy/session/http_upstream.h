// The connection of an HTTP/1 session to its server: opened at the first request that is allowed,
// used for one request after the other, given up when it is no longer fit for the next.
#pragma once

#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/read_buffer.h"

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <utility>

namespace weir::session {

class HttpUpstream {
public:
  HttpUpstream(HttpService& service, std::unique_ptr<net::Connector> connector)
      : x_service(service), x_connector(std::move(connector)) {}

  // Open, and neither closed by the server meanwhile nor spoken on unasked: what it said would be
  // taken for the answer to the next request.
  [[nodiscard]] bool usable() const { return x_stream && (!x_reused || !x_stream->stale()); }
  // It has answered a request before.
  [[nodiscard]] bool reused() const { return x_reused; }
  // Anew. False: the exchange says why, or is cut.
  boost::asio::awaitable<bool> connect(HttpExchange& exchange);

  // Only while it is open.
  [[nodiscard]] net::Stream& stream() { return *x_stream; }
  ReadBuffer received;

  // After a complete answer: stays open if it is fit for another request.
  void settle(const HttpExchange& exchange);
  // Ends it at rest, after the last exchange.
  void leave(const HttpExchange& exchange);
  // Ends it in the middle of something.
  void drop();

  void cancel();
  void abort();

  // For whoever goes on with the client's connection in another protocol.
  [[nodiscard]] std::unique_ptr<net::Connector> take_connector() { return std::move(x_connector); }

private:
  HttpService& x_service;
  std::unique_ptr<net::Connector> x_connector;
  std::unique_ptr<net::Stream> x_stream; // null: not open
  bool x_reused = false;
};

} // namespace weir::session
