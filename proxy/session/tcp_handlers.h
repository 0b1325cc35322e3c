// What a TCP listener knows of an accepted connection, and the protocols that others speak on it.
// main wires the handlers, so that the listeners do not depend on every protocol.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/session/context.h"
#include "proxy/session/http_service.h"
#include "proxy/session/policy_gate.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace weir::net {
class Connector;
class Stream;
} // namespace weir::net

namespace weir::session {

class HttpJudge;
struct TcpFlow {
  ClientAddr client;
  OriginalDst destination; // static listener: the fixed upstream
  std::uint16_t port = 0;  // destination port as policy sees it
  // Of a redirected flow: whom the client believes to talk to, which may be a service.
  std::optional<SocketAddress> asked;
  std::optional<IpAddress> source; // what the server sees; none: weir's own address
};

struct TcpHandlers {
  // Speaks DNS over TCP on the socket until its end. The gate has judged the flow (kRedirect
  // and kDns, or kAllow). The context outlives the coroutine, which runs in its worker's gate.
  std::function<boost::asio::awaitable<void>(SessionContext& context,
                                             boost::asio::ip::tcp::socket socket,
                                             std::unique_ptr<PolicyGate> gate, TcpFlow flow)>
      dns;
  // Judges the TLS server name and passes the bytes on (tls_handler.h). The gate's verdict may be
  // any: kDeny is reset, kAllow passed on unread. For the rest as dns.
  std::function<boost::asio::awaitable<void>(SessionContext& context,
                                             boost::asio::ip::tcp::socket socket,
                                             std::unique_ptr<PolicyGate> gate, TcpFlow flow)>
      tls;
  // HTTP inside TLS (tls_intercept.h). The gate's verdict is kRedirect with kHttp, and it asks for
  // TLS.
  std::function<boost::asio::awaitable<void>(SessionContext& context, HttpService& http,
                                             boost::asio::ip::tcp::socket socket,
                                             std::unique_ptr<PolicyGate> gate, TcpFlow flow,
                                             bool answer_denied_flows, std::string default_host)>
      intercept;
  Http2Handler http2;
};

} // namespace weir::session
