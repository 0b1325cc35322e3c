// What follows a 101 or an allowed CONNECT: bytes, both ways, until both sides have ended.
#pragma once

#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"

#include <boost/asio/awaitable.hpp>

namespace weir::session {

// Closes both streams. All outlive the call.
boost::asio::awaitable<void> run_tunnel(HttpService& service, HttpStreams& streams,
                                        HttpExchange& exchange);

} // namespace weir::session
