// Serves TLS and plain TCP on a socket that a listener accepted: the `tls` handler of TcpHandlers.
#pragma once

#include "proxy/session/tcp_handlers.h"
#include "proxy/session/tls_session.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace weir::session {

// Until the connection's end. The gate's verdict may be any: denied is reset, allowed is passed on
// as it is, kRedirect with kTls is judged by its server name. Service and context outlive the
// coroutine, which runs in the context's worker's gate.
boost::asio::awaitable<void> serve_tls(TlsService& service, SessionContext& context,
                                       boost::asio::ip::tcp::socket socket,
                                       std::unique_ptr<PolicyGate> gate, TcpFlow flow);
// The same where the client's hello was read to find out that it is to be passed on unread.
boost::asio::awaitable<void> serve_unread_tls(TlsService& service, SessionContext& context,
                                              std::unique_ptr<net::Stream> client,
                                              std::unique_ptr<PolicyGate> gate, TcpFlow flow,
                                              tls::ClientHelloReader hello);

} // namespace weir::session
