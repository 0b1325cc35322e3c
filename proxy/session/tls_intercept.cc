#include "proxy/session/tls_intercept.h"

#include "proxy/net/linger.h"
#include "proxy/net/socket_stream.h"
#include "proxy/session/gate_judge.h"
#include "proxy/session/http_session.h"
#include "proxy/session/server_connector.h"
#include "proxy/session/tls_handler.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/tls_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/this_coro.hpp>

#include <openssl/ssl.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace weir::session {
namespace asio = boost::asio;

namespace {

constexpr std::uint8_t kHandshakeRecord = 22; // first byte of a TLS connection (RFC 8446 §5.1)

// Judges by the gate, and holds requests to the name that the connection is about.
class RouteJudge final : public HttpJudge {
public:
  RouteJudge(std::unique_ptr<PolicyGate> gate, TcpFlow flow, bool answer_denied_flows,
             std::shared_ptr<TlsRoute> route)
      : x_inner(std::move(gate), flow, answer_denied_flows), x_route(std::move(route)) {}

  bool refresh() override { return x_inner.refresh(); }
  [[nodiscard]] std::string nearest(const policy::HttpRequest& request) const override {
    return x_inner.nearest(request);
  }
  [[nodiscard]] Labels labels() const override { return x_inner.labels(); }

  [[nodiscard]] policy::L7Decision judge(const policy::HttpRequest& request) const override {
    policy::L7Decision decision = x_inner.judge(request);
    if (!decision.allowed || x_route == nullptr) {
      return decision;
    }
    std::string host = host_without_port(request.host);
    if (x_route->name.empty()) {
      x_route->name = std::move(host);
    } else if (host != x_route->name) {
      decision.allowed = decision.audit = false;
      decision.reason = "server-name";
    }
    return decision;
  }

private:
  GateJudge x_inner;
  std::shared_ptr<TlsRoute> x_route; // null: no TLS concerns the requests' host
};

class Interception final : private runtime::Deadline {
public:
  Interception(InterceptService& service, SessionContext& context, HttpService& http,
               asio::ip::tcp::socket socket, std::unique_ptr<PolicyGate> gate, TcpFlow flow,
               bool answer_denied_flows, std::string default_host)
      : Deadline(http.watchdog), x_service(service), x_context(context), x_http(http),
        x_socket(std::move(socket)), x_gate(std::move(gate)), x_flow(flow),
        x_answer_denied_flows(answer_denied_flows), x_default_host(std::move(default_host)) {}

  static asio::awaitable<void> serve(std::unique_ptr<Interception> self);

private:
  enum class Hello : std::uint8_t { kPlain, kTls, kEnd };
  enum class Way : std::uint8_t { kHttp1, kHttp2, kUnread, kEnd };

  asio::awaitable<Hello> look();
  asio::awaitable<bool> read_hello();
  asio::awaitable<Way> handshake();
  asio::awaitable<Way> choose(bool http1, bool http2);
  asio::awaitable<void> end_with_alert(tls::Alert alert);

  [[nodiscard]] const std::shared_ptr<const SecretSet>& secrets() const {
    return x_context.worker.snapshot()->secrets;
  }
  [[nodiscard]] std::unique_ptr<net::Connector> make_connector();
  [[nodiscard]] std::unique_ptr<RouteJudge> make_judge();
  void record(AccessVerdict verdict, std::string_view reason);
  void on_deadline() override;

  InterceptService& x_service;
  SessionContext& x_context;
  HttpService& x_http;
  asio::ip::tcp::socket x_socket;
  std::unique_ptr<PolicyGate> x_gate;
  const TcpFlow x_flow;
  const bool x_answer_denied_flows;
  std::string x_default_host;

  std::unique_ptr<net::Stream> x_client; // once x_socket was looked at
  tls::ClientHelloReader x_reader;
  std::shared_ptr<TlsRoute> x_route;
  std::unique_ptr<net::Connector> x_connector;
  TlsConnector* x_tls_connector = nullptr; // x_connector, where it is one
  bool x_timed_out = false;
  const std::chrono::system_clock::time_point x_time = std::chrono::system_clock::now();
};

asio::awaitable<void> Interception::serve(std::unique_ptr<Interception> self) {
  co_await asio::this_coro::throw_if_cancelled(false);
  Way way = Way::kEnd;
  switch (co_await self->look()) {
  case Hello::kPlain:
    // Where no rule is about plain requests the judge says so of each.
    self->x_gate->client_speaks_plain();
    self->x_client =
        std::make_unique<net::SocketStream>(std::move(self->x_socket), self->x_context.short_way);
    self->x_connector = self->make_connector();
    way = Way::kHttp1;
    break;
  case Hello::kTls:
    self->x_client =
        std::make_unique<net::SocketStream>(std::move(self->x_socket), self->x_context.short_way);
    if (co_await self->read_hello()) {
      way = co_await self->handshake();
    }
    break;
  case Hello::kEnd:
    break;
  }
  if (way == Way::kEnd) {
    co_return;
  }
  self->never();
  if (way == Way::kUnread) {
    TlsService& unread = self->x_service.unread;
    SessionContext& context = self->x_context;
    const TcpFlow flow = self->x_flow;
    auto client = std::move(self->x_client);
    auto gate = std::move(self->x_gate);
    tls::ClientHelloReader hello = std::move(self->x_reader);
    self.reset();
    co_await serve_unread_tls(unread, context, std::move(client), std::move(gate), flow,
                              std::move(hello));
    co_return;
  }
  HttpService& http = self->x_http;
  auto judge = self->make_judge();
  auto client = std::move(self->x_client);
  auto connector = std::move(self->x_connector);
  std::string default_host = std::move(self->x_default_host);
  self.reset();
  if (way == Way::kHttp2) {
    co_await http.http2(http, std::move(client), {}, std::move(judge), std::move(connector));
  } else {
    co_await HttpSession::serve(std::make_unique<HttpSession>(
        http, std::move(client), std::move(judge), std::move(connector), std::move(default_host)));
  }
}

// By the first byte, which stays in the socket: TLS begins with a byte that no HTTP request has.
asio::awaitable<Interception::Hello> Interception::look() {
  if (!x_gate->may_terminate()) {
    co_return Hello::kPlain;
  }
  expire_after(x_service.limits.hello_timeout);
  std::uint8_t first = 0;
  const auto [error] = co_await x_socket.async_wait(asio::ip::tcp::socket::wait_read,
                                                    asio::as_tuple(asio::deferred));
  const ssize_t got =
      error ? -1 : ::recv(x_socket.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got != 1) {
    if (x_timed_out) {
      record(AccessVerdict::kError, "hello-timeout");
    }
    co_return Hello::kEnd;
  }
  co_return first == kHandshakeRecord ? Hello::kTls : Hello::kPlain;
}

asio::awaitable<bool> Interception::read_hello() {
  using Status = tls::ClientHelloReader::Status;
  Status status = Status::kNeedMore;
  const runtime::BufferPool::Block block = x_http.pool.acquire();
  while (status == Status::kNeedMore) {
    const net::IoResult read =
        co_await x_client->read_some({block.get(), x_http.pool.block_size()});
    if (read.error) {
      record(AccessVerdict::kError, x_timed_out ? "hello-timeout" : "hello-incomplete");
      x_client->abort();
      co_return false;
    }
    status = x_reader.feed({reinterpret_cast<const std::uint8_t*>(block.get()), read.bytes});
  }
  if (status == Status::kDone) {
    co_return true;
  }
  x_context.worker.metrics().tls_hellos_refused.add();
  record(AccessVerdict::kDenied, x_reader.refusal().reason);
  if (x_reader.refusal().alert) {
    co_await end_with_alert(*x_reader.refusal().alert);
  } else {
    x_client->abort();
  }
  co_return false;
}

asio::awaitable<Interception::Way> Interception::handshake() {
  const std::optional<std::string>& name = x_reader.hello().server_name;
  x_gate->refresh();
  if (!x_gate->client_speaks_tls(name)) {
    record(AccessVerdict::kDenied, "sni");
    co_await end_with_alert(name ? tls::Alert::kUnrecognizedName : tls::Alert::kAccessDenied);
    co_return Way::kEnd;
  }
  const TlsTerms& terms = x_gate->tls_terms();
  if (terms.unread) {
    co_return Way::kUnread;
  }
  if (name || terms.originating) {
    // Without a name the server is known by the address that the client has connected to.
    x_route = std::make_shared<TlsRoute>(
        TlsRoute{name ? *name : x_flow.destination.value.ip.to_string()});
  }
  SSL_CTX* const context = x_service.contexts.terminating(*terms.terminating, secrets());
  if (context == nullptr) {
    record(AccessVerdict::kError, "secret");
    co_await end_with_alert(tls::Alert::kInternalError);
    co_return Way::kEnd;
  }
  const std::vector<std::string>& offered = x_reader.hello().alpn;
  const auto offers = [&](std::string_view one) {
    return std::find(offered.begin(), offered.end(), one) != offered.end();
  };
  const bool http2 = x_http.http2 && offers("h2");
  const bool http1 = offered.empty() || offers("http/1.1");
  if (!http2 && !http1) {
    record(AccessVerdict::kError, "alpn");
    co_await end_with_alert(tls::Alert::kNoApplicationProtocol);
    co_return Way::kEnd;
  }
  auto stream = std::make_unique<tls::TlsStream>(context, std::move(x_client), x_reader.raw());
  tls::TlsStream& client = *stream;
  x_client = std::move(stream);
  // The server's handshake comes between: it has a time limit of its own.
  never();
  x_connector = make_connector();
  const Way way = co_await choose(http1, http2);
  expire_after(x_service.limits.handshake_timeout);
  const net::ErrorCode error = co_await client.accept(way == Way::kHttp2 ? "h2" : "http/1.1");
  if (error) {
    x_context.worker.metrics().tls_handshake_failures.add();
    record(AccessVerdict::kError, x_timed_out ? "handshake-timeout"
                                  : error == tls::make_error(tls::StreamError::kCertificate)
                                      ? "client-certificate"
                                      : "handshake");
    x_client->close();
    co_return Way::kEnd;
  }
  co_return way;
}

// What to speak on both sides, of what the client offers.
asio::awaitable<Interception::Way> Interception::choose(bool http1, bool http2) {
  Way way = http1 ? Way::kHttp1 : Way::kHttp2;
  if (x_tls_connector != nullptr) {
    std::vector<std::string> protocols;
    if (http2) {
      protocols.emplace_back("h2");
    }
    if (http1) {
      protocols.emplace_back("http/1.1");
    }
    const TlsConnector::Ahead ahead = co_await x_tls_connector->connect_ahead(std::move(protocols));
    if (http2 && ahead.connected && ahead.protocol == "h2") {
      way = Way::kHttp2;
    }
    if (way == Way::kHttp2) {
      x_tls_connector->will_speak(net::Connector::Application::kHttp2);
    }
  }
  co_return way;
}

std::unique_ptr<net::Connector> Interception::make_connector() {
  auto below = server_connector(x_context, x_flow);
  if (x_gate->verdict() == policy::Verdict::kDeny || !x_gate->tls_terms().originating) {
    return below;
  }
  if (x_route == nullptr) {
    x_route = std::make_shared<TlsRoute>(); // the first request says which server
  }
  auto connector = std::make_unique<TlsConnector>(
      TlsConnector::Shared{x_context.worker, x_http.watchdog, x_service.contexts,
                           x_service.limits.handshake_timeout},
      *x_gate->tls_terms().originating, std::move(below), x_route);
  x_tls_connector = connector.get();
  return connector;
}

std::unique_ptr<RouteJudge> Interception::make_judge() {
  return std::make_unique<RouteJudge>(std::move(x_gate), x_flow, x_answer_denied_flows,
                                      std::move(x_route));
}

asio::awaitable<void> Interception::end_with_alert(tls::Alert alert) {
  const auto bytes = tls::alert_record(alert);
  net::Gather gather{{reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
  net::ErrorCode error;
  expire_after(net::kLingerTime);
  if (!net::write_now(*x_client, gather, error)) {
    error = co_await net::write_rest(*x_client, gather);
  }
  if (error) {
    x_client->close();
    co_return;
  }
  const runtime::BufferPool::Block block = x_http.pool.acquire();
  co_await net::linger_close(*x_client, {block.get(), x_http.pool.block_size()}, x_timed_out);
}

void Interception::record(AccessVerdict verdict, std::string_view reason) {
  const HttpJudge::Labels labels = flow_labels(*x_gate, x_flow);
  AccessRecord record;
  record.time = x_time;
  record.verdict = verdict;
  record.protocol = "tls";
  record.direction = labels.direction;
  record.source = labels.source;
  record.destination = labels.destination;
  if (x_reader.hello().server_name) {
    record.host = *x_reader.hello().server_name;
  }
  if (verdict == AccessVerdict::kDenied && x_gate->denying_rule() != nullptr) {
    record.denied_by = x_gate->denying_rule()->label;
  }
  record.reason = reason;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now() - x_time);
  WorkerMetrics& metrics = x_context.worker.metrics();
  metrics.tls_connections[static_cast<std::size_t>(verdict)].add();
  if (!x_context.access_log.write(x_context.worker.index(), record)) {
    metrics.access_log_lost.add();
  }
}

void Interception::on_deadline() {
  x_timed_out = true;
  if (x_client) {
    x_client->cancel();
  } else {
    boost::system::error_code ignored;
    x_socket.cancel(ignored);
  }
}

} // namespace

asio::awaitable<void> serve_intercepted(InterceptService& service, SessionContext& context,
                                        HttpService& http, asio::ip::tcp::socket socket,
                                        std::unique_ptr<PolicyGate> gate, TcpFlow flow,
                                        bool answer_denied_flows, std::string default_host) {
  return Interception::serve(
      std::make_unique<Interception>(service, context, http, std::move(socket), std::move(gate),
                                     flow, answer_denied_flows, std::move(default_host)));
}

} // namespace weir::session
