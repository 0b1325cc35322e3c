// Why there is no connection to the server: what the client is answered, and what the log says.
#pragma once

#include "proxy/net/stream.h"

#include <string_view>

namespace weir::session {

struct ConnectFailure {
  int status;
  std::string_view reason; // static text
};

// `error`: of net::Connector::connect().
[[nodiscard]] ConnectFailure connect_failure(net::ErrorCode error);

} // namespace weir::session
