#include "proxy/session/server_connector.h"

namespace weir::session {

std::unique_ptr<net::Connector> server_connector(const SessionContext& context,
                                                 const TcpFlow& flow) {
  return std::make_unique<net::TcpConnector>(flow.destination.value, flow.source,
                                             context.http.connect_timeout, context.short_way);
}

} // namespace weir::session
