#include "proxy/session/tls_handler.h"

#include "proxy/net/connector.h"
#include "proxy/net/socket_stream.h"
#include "proxy/session/tls_gate_judge.h"

#include <optional>
#include <utility>

namespace weir::session {

boost::asio::awaitable<void> serve_tls(TlsService& service, SessionContext& context,
                                       boost::asio::ip::tcp::socket socket,
                                       std::unique_ptr<PolicyGate> gate, TcpFlow flow) {
  const std::optional<IpAddress> source =
      flow.transparent ? std::optional(flow.client.value.ip) : std::nullopt;
  auto session = std::make_unique<TlsSession>(
      service, std::make_unique<net::SocketStream>(std::move(socket)),
      std::make_unique<GateTlsJudge>(std::move(gate), flow),
      std::make_unique<net::TcpConnector>(flow.destination.value, source,
                                          context.http.connect_timeout));
  return TlsSession::serve(std::move(session));
}

} // namespace weir::session
