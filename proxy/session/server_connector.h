// The way to the server behind a flow, for every protocol that is spoken on it.
#pragma once

#include "proxy/net/connector.h"
#include "proxy/session/context.h"
#include "proxy/session/tcp_handlers.h"

#include <memory>

namespace weir::session {

// As the flow's source. The context outlives it and what it connects.
[[nodiscard]] std::unique_ptr<net::Connector> server_connector(const SessionContext& context,
                                                               const TcpFlow& flow);

} // namespace weir::session
