// Brings the server's answer to the client: interim heads, the final one, and its body.
#pragma once

#include "proxy/http/parser.h"
#include "proxy/http/serializer.h"
#include "proxy/net/stream.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"

#include <boost/asio/awaitable.hpp>

#include <cstdint>

namespace weir::session {

class HttpDownload {
public:
  // All outlive it.
  HttpDownload(HttpService& service, HttpStreams& streams, HttpExchange& exchange);

  boost::asio::awaitable<Outcome> run();

private:
  enum class Head : std::uint8_t {
    kInterim, // others follow
    kTunnel,  // none follows, nor a body
    kFinal,
    kRefused,
  };

  // Whether the head is whole. What is wrong with it goes to `refusal`.
  bool parse_head(http::Refusal& refusal);
  [[nodiscard]] Head kind_of_head(http::Refusal& refusal);
  [[nodiscard]] Outcome no_head(net::ErrorCode error, bool any_byte);
  [[nodiscard]] Outcome refuse(const http::Refusal& refusal);
  [[nodiscard]] net::Gather passed_on(Head head);

  [[nodiscard]] net::Gather begin_answer();
  // False: the body is malformed.
  bool add_body_so_far(net::Gather& gather);
  [[nodiscard]] Outcome malformed_body();
  [[nodiscard]] Outcome cut_off(std::string_view reason);

  HttpService& x_service;
  HttpStreams& x_streams;
  HttpExchange& x_exchange;
  http::ResponseParser x_parser;
  http::Framing x_framing; // of the body as the client is sent it
  http::ChunkLine x_chunk;
  unsigned x_interim = 0; // heads so far
};

} // namespace weir::session
