// Reads the head of a client's next request, or finds that there is none.
#pragma once

#include "proxy/http/parser.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"

#include <boost/asio/awaitable.hpp>

#include <cstdint>

namespace weir::session {

class HttpRequestReader {
public:
  // All outlive it.
  HttpRequestReader(HttpService& service, HttpStreams& streams, HttpExchange& exchange);

  enum class Input : std::uint8_t {
    kRequest, // begun in the exchange; the buffer goes on with its body
    kHttp2,   // the buffer begins with the preface
    kRefused, // begun in the exchange, which says why
    kEnd,     // in order
    kBroken,
  };
  boost::asio::awaitable<Input> read();
  // What was read last is no request: where the next one begins is not known.
  [[nodiscard]] bool refused() const { return static_cast<bool>(x_parser.refusal()); }

private:
  [[nodiscard]] bool has_preface();
  [[nodiscard]] Input no_more(net::ErrorCode error);

  HttpService& x_service;
  HttpStreams& x_streams;
  HttpExchange& x_exchange;
  http::RequestParser x_parser;
  bool x_may_be_http2; // nothing but the beginning of the preface has been read so far
};

} // namespace weir::session
