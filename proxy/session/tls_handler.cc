#include "proxy/session/tls_handler.h"

#include "proxy/net/socket_stream.h"
#include "proxy/session/server_connector.h"
#include "proxy/session/tls_gate_judge.h"

#include <optional>
#include <utility>

namespace weir::session {

namespace {

boost::asio::awaitable<void> serve(TlsService& service, SessionContext& context,
                                   std::unique_ptr<net::Stream> client,
                                   std::unique_ptr<PolicyGate> gate, const TcpFlow& flow,
                                   std::optional<tls::ClientHelloReader> hello) {
  return TlsSession::serve(std::make_unique<TlsSession>(
      service, std::move(client), std::make_unique<GateTlsJudge>(std::move(gate), flow),
      server_connector(context, flow), std::move(hello)));
}

} // namespace

boost::asio::awaitable<void> serve_tls(TlsService& service, SessionContext& context,
                                       boost::asio::ip::tcp::socket socket,
                                       std::unique_ptr<PolicyGate> gate, TcpFlow flow) {
  return serve(service, context,
               std::make_unique<net::SocketStream>(std::move(socket), context.short_way),
               std::move(gate), flow, std::nullopt);
}

boost::asio::awaitable<void> serve_unread_tls(TlsService& service, SessionContext& context,
                                              std::unique_ptr<net::Stream> client,
                                              std::unique_ptr<PolicyGate> gate, TcpFlow flow,
                                              tls::ClientHelloReader hello) {
  return serve(service, context, std::move(client), std::move(gate), flow, std::move(hello));
}

} // namespace weir::session
