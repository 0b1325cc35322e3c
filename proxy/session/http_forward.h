// Takes an allowed request to the server and its answer to the client, on the connection that is
// there.
//
// A request whose body is in the buffer already (or that has none) is written and then its answer
// read, in one coroutine; only a longer body makes a second one, for as long as it lasts.
#pragma once

#include "proxy/net/stream.h"
#include "proxy/session/http_download.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"
#include "proxy/session/http_upload.h"

#include <boost/asio/awaitable.hpp>

namespace weir::session {

class HttpForward {
public:
  // All outlive it.
  HttpForward(HttpService& service, HttpStreams& streams, HttpExchange& exchange)
      : x_service(service), x_streams(streams), x_exchange(exchange), x_upload(streams, exchange),
        x_download(service, streams, exchange) {}

  // The server's connection is open.
  boost::asio::awaitable<Outcome> attempt();
  // Is another attempt worth it, on a new connection? After one that failed the present one is
  // given up.
  [[nodiscard]] bool again(Outcome outcome);

private:
  // The socket does not take the whole request at once, or none of it.
  boost::asio::awaitable<Outcome> send_rest_and_download(net::Gather rest, net::ErrorCode error);
  // Both ways at the same time, for a request whose body is still coming.
  boost::asio::awaitable<Outcome> stream();
  boost::asio::awaitable<Outcome> download_and_end_upload();

  HttpService& x_service;
  HttpStreams& x_streams;
  HttpExchange& x_exchange;
  HttpUpload x_upload;
  HttpDownload x_download;
};

} // namespace weir::session
