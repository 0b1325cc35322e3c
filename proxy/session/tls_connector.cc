#include "proxy/session/tls_connector.h"

#include "proxy/tls/tls_stream.h"

#include <boost/asio/error.hpp>

#include <openssl/ssl.h>

#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

constexpr std::string_view kHttp1 = "http/1.1", kHttp2 = "h2";

class HandshakeDeadline final : public runtime::Deadline {
public:
  HandshakeDeadline(runtime::Watchdog& watchdog, net::Stream& stream,
                    std::chrono::milliseconds limit)
      : Deadline(watchdog), x_stream(stream) {
    expire_after(limit);
  }
  [[nodiscard]] bool passed() const { return x_passed; }

private:
  void on_deadline() override {
    x_passed = true;
    x_stream.cancel();
  }

  net::Stream& x_stream;
  bool x_passed = false;
};

} // namespace

std::string host_without_port(std::string_view host) {
  if (host.starts_with('[')) {
    return std::string(host.substr(1, host.find(']') - 1));
  }
  return std::string(host.substr(0, host.rfind(':')));
}

TlsConnector::TlsConnector(Shared shared, policy::TlsContext terms,
                           std::unique_ptr<net::Connector> below,
                           std::shared_ptr<const TlsRoute> route)
    : x_shared(shared), x_terms(std::move(terms)), x_below(std::move(below)),
      x_route(std::move(route)) {}

asio::awaitable<TlsConnector::Secured> TlsConnector::secure(std::vector<std::string> protocols) {
  SSL_CTX* const context =
      x_shared.contexts.originating(x_terms, x_shared.worker.snapshot()->secrets);
  if (context == nullptr) {
    Secured failed;
    failed.connected.error = tls::make_error(tls::StreamError::kSecret);
    co_return failed;
  }
  // Made before anything is awaited: the context's place may be another's by then.
  SSL_CTX_up_ref(context);
  const tls::Context held(context);
  Connected below = co_await x_below->connect();
  Secured made;
  if (below.error) {
    made.connected = std::move(below);
    co_return made;
  }
  auto stream = std::make_unique<tls::TlsStream>(held.get(), std::move(below.stream),
                                                 std::span<const std::uint8_t>{});
  HandshakeDeadline deadline(x_shared.watchdog, *stream, x_shared.handshake_timeout);
  made.connected.error = co_await stream->connect(x_route->name, std::move(protocols));
  if (made.connected.error) {
    if (deadline.passed()) {
      made.connected.error = asio::error::timed_out;
    }
    stream->abort();
    co_return made;
  }
  made.protocol = stream->protocol();
  made.connected.stream = std::move(stream);
  co_return made;
}

asio::awaitable<TlsConnector::Ahead>
TlsConnector::connect_ahead(std::vector<std::string> protocols) {
  x_ahead = co_await secure(std::move(protocols));
  co_return Ahead{x_ahead->connected.stream != nullptr, x_ahead->protocol};
}

asio::awaitable<net::Connector::Connected> TlsConnector::connect() {
  const bool http2 = x_application == Application::kHttp2;
  Secured secured;
  if (x_ahead) {
    secured = std::move(*x_ahead);
    x_ahead.reset();
  } else {
    std::vector<std::string> protocols(1, std::string(http2 ? kHttp2 : kHttp1));
    secured = co_await secure(std::move(protocols));
  }
  // A server without ALPN speaks HTTP/1.1 (RFC 9113 §3.2: h2 has to be chosen).
  const bool fits =
      http2 ? secured.protocol == kHttp2 : secured.protocol.empty() || secured.protocol == kHttp1;
  if (secured.connected.stream && !fits) {
    secured.connected.stream->abort();
    secured.connected.stream.reset();
    secured.connected.error = tls::make_error(tls::StreamError::kNoApplication);
  }
  co_return std::move(secured.connected);
}

} // namespace weir::session
