// Sends an allowed request to the server: head and what came of its body in one go, then the rest
// of the body as the client sends it.
#pragma once

#include "proxy/http/serializer.h"
#include "proxy/net/stream.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_streams.h"

#include <boost/asio/awaitable.hpp>

#include <string_view>

namespace weir::session {

class HttpUpload {
public:
  // All outlive it.
  HttpUpload(HttpStreams& streams, HttpExchange& exchange)
      : x_streams(streams), x_exchange(exchange) {}

  // The head with the body's first part: the whole request, where no more follows.
  [[nodiscard]] net::Gather beginning();

  // The whole of a request whose body is still coming, beside the answer's download: prepare(),
  // then run(), which ends with the body, with the answer, or when one side has enough.
  void prepare();
  boost::asio::awaitable<void> run();
  // Nobody waits for the rest any more: ends run() soon.
  void answer_has_ended();
  // What was wrong with the body.
  [[nodiscard]] http::Refusal refusal() const { return x_refusal; }

private:
  void add_part(net::Gather& gather, std::string_view payload);
  // Half a request must not look like a whole one to the server.
  void cut_off();

  HttpStreams& x_streams;
  HttpExchange& x_exchange;
  http::ChunkLine x_chunk;
  bool x_running = false;
  bool x_answer_ended = false;
  http::Refusal x_refusal;
};

} // namespace weir::session
