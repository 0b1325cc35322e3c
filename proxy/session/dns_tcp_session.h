// DNS over TCP (RFC 1035 §4.2.2, RFC 7766): one client connection, its queries pipelined and
// answered in the order in which their answers come.
#pragma once

#include "proxy/session/dns_service.h"
#include "proxy/session/tcp_handlers.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace weir::session {

// Until the client closes, is idle for too long, or sends what is no query. A bounded number is in
// flight; what comes beyond it stays in the kernel's buffer. A client that closes its sending half
// gets the answers that it waits for. Runs in the service's worker's gate; the service outlives it.
boost::asio::awaitable<void> serve_dns_tcp(DnsService& service, boost::asio::ip::tcp::socket socket,
                                           DnsFlow flow, std::shared_ptr<DnsPolicy> policy);

// As TcpHandlers::dns wants it. The context is that of the service's worker.
boost::asio::awaitable<void> serve_dns_tcp(DnsService& service, SessionContext& context,
                                           boost::asio::ip::tcp::socket socket,
                                           std::unique_ptr<PolicyGate> gate, TcpFlow flow);

} // namespace weir::session
