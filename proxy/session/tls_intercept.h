// HTTP inside TLS: ends the client's TLS where policy says so (terminatingTLS), begins TLS towards
// the server where policy says so (originatingTLS), and hands the connection to the HTTP session
// that ALPN asks for. What the HTTP session reads and writes is plain text.
//
//   client ──► ClientHello ──► which rule's terms? ──┬── none ──► alert, end
//                                                    ├── its name passes ──► unread (tls_session.h)
//                                                    ▼
//              server's TLS first: it chooses among what the client offers (ALPN)
//                                                    ▼
//              client's handshake with the same choice ──► HTTP/1.1 or HTTP/2 session
//
// HTTP/2 stays HTTP/2 for that reason: the client is never promised what the server does not
// speak. Where the server's side is plain, HTTP/1.1 is chosen unless the client offers HTTP/2 only.
//
// A request's host must be the name that the client gave in its hello, and that the server has
// proved: otherwise the connection would carry requests past the rule that admitted it.
//
// On the worker's thread only.
#pragma once

#include "proxy/session/tcp_handlers.h"
#include "proxy/session/tls_connector.h"
#include "proxy/session/tls_contexts.h"
#include "proxy/session/tls_session.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <string>

namespace weir::session {

// One a worker; outlives its gate.
struct InterceptService {
  const TlsLimits& limits;
  TlsService& unread; // for what is passed on as it is
  TlsContexts contexts{};
};

// Until the connection's end. The gate's verdict is kRedirect with HTTP, and it asks for TLS.
// answer_denied_flows as in GateJudge; default_host as in HttpSession. All references outlive the
// coroutine, which runs in the context's worker's gate.
boost::asio::awaitable<void> serve_intercepted(InterceptService& service, SessionContext& context,
                                               HttpService& http,
                                               boost::asio::ip::tcp::socket socket,
                                               std::unique_ptr<PolicyGate> gate, TcpFlow flow,
                                               bool answer_denied_flows, std::string default_host);

} // namespace weir::session
