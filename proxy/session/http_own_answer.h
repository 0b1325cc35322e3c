// weir's own answer to a request that it does not pass on, or could not: denials, and errors of
// either side.
#pragma once

#include "proxy/session/http_exchange.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"

#include <boost/asio/awaitable.hpp>

namespace weir::session {

// What the exchange says. False: the client did not take it. All outlive the call.
boost::asio::awaitable<bool> send_own_answer(HttpService& service, HttpStreams& streams,
                                             HttpExchange& exchange);

} // namespace weir::session
