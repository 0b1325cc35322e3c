// Connections to the server inside TLS (originatingTLS): the server has to prove the name that the
// client asked for, by the trusted CA of the policy's secret. On the worker's thread only.
#pragma once

#include "policy-compiler/runtime/tls_context.h"
#include "proxy/net/connector.h"
#include "proxy/runtime/deadline.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/tls_contexts.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::session {

// Which server one connection of a client is for. The client's server name says so, or, where it
// gave none, the first request that may proceed. Shared by the judge, who sees the requests, and
// the connector.
struct TlsRoute {
  std::string name; // a DNS name or an address; empty: not known yet
};

class TlsConnector final : public net::Connector {
public:
  // What several connectors of a worker share; outlives them.
  struct Shared {
    runtime::Worker& worker;
    runtime::Watchdog& watchdog;
    TlsContexts& contexts;
    std::chrono::milliseconds handshake_timeout;
  };

  TlsConnector(Shared shared, policy::TlsContext terms, std::unique_ptr<net::Connector> below,
               std::shared_ptr<const TlsRoute> route);

  boost::asio::awaitable<Connected> connect() override;
  void will_speak(Application application) override { x_application = application; }

  // Connects before it is known what will be spoken: the server chooses among `protocols`. The
  // next connect() gives what came of it.
  struct Ahead {
    bool connected = false;
    std::string protocol; // empty: the server chose none
  };
  boost::asio::awaitable<Ahead> connect_ahead(std::vector<std::string> protocols);

private:
  struct Secured {
    Connected connected;
    std::string protocol;
  };
  boost::asio::awaitable<Secured> secure(std::vector<std::string> protocols);

  const Shared x_shared;
  const policy::TlsContext x_terms;
  std::unique_ptr<net::Connector> x_below;
  std::shared_ptr<const TlsRoute> x_route;
  Application x_application = Application::kHttp1;
  std::optional<Secured> x_ahead;
};

// A name as a server's certificate has it: of "host:port" the host, of "[::1]" the address.
[[nodiscard]] std::string host_without_port(std::string_view host);

} // namespace weir::session
