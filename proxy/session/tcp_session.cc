#include "proxy/session/tcp_session.h"

#include "proxy/net/relay.h"
#include "proxy/net/socket_stream.h"
#include "proxy/session/gate_judge.h"
#include "proxy/session/http_session.h"
#include "proxy/session/server_connector.h"

#include <boost/asio/this_coro.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

constexpr std::uint16_t kDnsPort = 53;

enum class Way : std::uint8_t { kRefuse, kRelay, kHttp, kDns, kTls };

// observes_dns: a flow of port 53 may be here only so that its questions are seen.
Way choose(const PolicyGate& gate, Spoken spoken, std::uint16_t port, bool observes_dns) {
  using policy::L7Protocol;
  switch (gate.verdict()) {
  case policy::Verdict::kDeny:
    // Without a packet filter in front, HTTP can say who denied it.
    return spoken == Spoken::kHttp ? Way::kHttp : Way::kRefuse;
  case policy::Verdict::kAllow:
    switch (spoken) {
    case Spoken::kHttp:
      return Way::kHttp;
    case Spoken::kDns:
      return Way::kDns;
    case Spoken::kByPolicy:
      return observes_dns && port == kDnsPort ? Way::kDns : Way::kRelay;
    case Spoken::kTcp:
      return Way::kRelay;
    }
    break;
  case policy::Verdict::kRedirect:
    if (gate.protocol() == L7Protocol::kHttp &&
        (spoken == Spoken::kByPolicy || spoken == Spoken::kHttp)) {
      return Way::kHttp;
    }
    if (gate.protocol() == L7Protocol::kDns &&
        (spoken == Spoken::kByPolicy || spoken == Spoken::kDns)) {
      return Way::kDns;
    }
    if (gate.protocol() == L7Protocol::kTls &&
        (spoken == Spoken::kByPolicy || spoken == Spoken::kTcp)) {
      return Way::kTls;
    }
    break;
  }
  return Way::kRefuse;
}

// The authority of a request that names none: the server that the client connected to.
std::string default_host(const SocketAddress& destination) {
  if (destination.port != 80) {
    return destination.to_string();
  }
  const std::string ip = destination.ip.to_string();
  return destination.ip.is_v4() ? ip : "[" + ip + "]";
}

} // namespace

TcpService::TcpService(SessionContext& context, TcpHandlers handlers)
    : x_context(context), x_handlers(std::move(handlers)),
      x_http(context.http, context.worker.metrics(), context.access_log, context.worker.index()),
      x_snapshot_watch(*this) {
  x_http.http2 = x_handlers.http2;
}

void TcpService::start() { x_context.worker.gate().spawn(x_http.watchdog.run()); }

void TcpService::serve(asio::ip::tcp::socket socket, TcpFlow flow, std::unique_ptr<PolicyGate> gate,
                       Spoken spoken) {
  const IpAddress& client = flow.client.value.ip;
  if (const std::string_view limit = reached_limit(client); !limit.empty()) {
    x_context.worker.metrics().connections_over_limit.add();
    refuse(std::move(socket), flow, *gate, limit);
    return;
  }
  x_context.worker.gate().spawn(
      run(*this, std::move(socket), flow, std::move(gate), spoken, Admission(*this, client)));
}

std::string_view TcpService::reached_limit(const IpAddress& client) {
  if (x_memory.is_short()) {
    return "memory-limit";
  }
  const auto at = x_connections.find(client);
  const bool full =
      at != x_connections.end() && at->second >= x_context.http.max_connections_per_pod;
  return full ? "too-many-connections" : "";
}

TcpService::Admission::Admission(TcpService& service, const IpAddress& client)
    : x_service(&service), x_client(client) {
  ++service.x_connections[client];
}

TcpService::Admission::~Admission() {
  if (x_service != nullptr) {
    const auto at = x_service->x_connections.find(x_client);
    if (--at->second == 0) {
      x_service->x_connections.erase(at);
    }
  }
}

TcpService::SnapshotWatch::SnapshotWatch(TcpService& service)
    : Deadline(service.x_http.watchdog), x_service(service),
      x_seen(service.x_context.worker.snapshot()) {
  expire_after({});
}

void TcpService::SnapshotWatch::on_deadline() {
  expire_after({}); // at the next tick again
  if (x_seen != x_service.x_context.worker.snapshot()) {
    x_seen = x_service.x_context.worker.snapshot();
    x_service.x_http.policy_watchers.policy_changed();
  }
}

asio::awaitable<void> TcpService::run(TcpService& service, asio::ip::tcp::socket socket,
                                      TcpFlow flow, std::unique_ptr<PolicyGate> gate, Spoken spoken,
                                      Admission /*admission*/) {
  co_await asio::this_coro::throw_if_cancelled(false);
  switch (choose(*gate, spoken, flow.port, service.x_context.dns.observe)) {
  case Way::kRefuse:
    service.refuse(std::move(socket), flow, *gate,
                   gate->verdict() == policy::Verdict::kDeny ? "policy" : "protocol");
    break;
  case Way::kRelay:
    // The TLS session also passes on what is allowed as it is, and notices when that changes.
    if (service.x_handlers.tls) {
      co_await service.x_handlers.tls(service.x_context, std::move(socket), std::move(gate), flow);
    } else {
      co_await run_relay(service, std::move(socket), flow, std::move(gate));
    }
    break;
  case Way::kHttp:
    if (gate->asks_for_tls()) {
      if (service.x_handlers.intercept) {
        co_await service.x_handlers.intercept(service.x_context, service.x_http, std::move(socket),
                                              std::move(gate), flow, spoken == Spoken::kHttp,
                                              default_host(flow.destination.value));
      } else {
        service.refuse(std::move(socket), flow, *gate, "protocol");
      }
      break;
    }
    // Rules about TLS that come later find what this connection is.
    gate->client_speaks_plain();
    co_await HttpSession::serve(std::make_unique<HttpSession>(
        service.x_http,
        std::make_unique<net::SocketStream>(std::move(socket), service.x_context.short_way),
        std::make_unique<GateJudge>(std::move(gate), flow, spoken == Spoken::kHttp),
        server_connector(service.x_context, flow),
        default_host(flow.asked.value_or(flow.destination.value))));
    break;
  case Way::kDns:
    if (service.x_handlers.dns) {
      co_await service.x_handlers.dns(service.x_context, std::move(socket), std::move(gate), flow);
    } else {
      service.refuse(std::move(socket), flow, *gate, "protocol");
    }
    break;
  case Way::kTls:
    if (service.x_handlers.tls) {
      co_await service.x_handlers.tls(service.x_context, std::move(socket), std::move(gate), flow);
    } else {
      service.refuse(std::move(socket), flow, *gate, "protocol");
    }
    break;
  }
}

asio::awaitable<void> TcpService::run_relay(TcpService& service, asio::ip::tcp::socket socket,
                                            TcpFlow flow, std::unique_ptr<PolicyGate> gate) {
  net::SocketStream client(std::move(socket), service.x_context.short_way);
  const auto time = std::chrono::system_clock::now();
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<net::Connector> connector = server_connector(service.x_context, flow);
  WorkerMetrics& metrics = service.x_context.worker.metrics();

  AccessRecord record;
  record.time = time;
  record.protocol = "tcp";
  const net::Connector::Connected upstream = co_await connector->connect();
  if (upstream.error) {
    metrics.upstream_connect_failures.add();
    record.verdict = AccessVerdict::kError;
    record.reason = "upstream-unreachable";
    client.abort();
  } else {
    metrics.upstream_connections_opened.add();
    const net::RelayResult result =
        co_await net::relay(client, *upstream.stream, service.x_http.pool, nullptr);
    if (result.clean) {
      client.close();
      upstream.stream->close();
    } else {
      client.abort();
      upstream.stream->abort();
    }
    record.verdict = AccessVerdict::kAllowed;
    record.bytes_in = result.bytes_in;
    record.bytes_out = result.bytes_out;
  }
  const HttpJudge::Labels labels = flow_labels(*gate, flow);
  record.direction = labels.direction;
  record.source = labels.source;
  record.destination = labels.destination;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  if (!service.x_context.access_log.write(service.x_context.worker.index(), record)) {
    metrics.access_log_lost.add();
  }
}

void TcpService::refuse(asio::ip::tcp::socket socket, const TcpFlow& flow, const PolicyGate& gate,
                        std::string_view reason) {
  WorkerMetrics& metrics = x_context.worker.metrics();
  metrics.connections_refused.add();
  const HttpJudge::Labels labels = flow_labels(gate, flow);
  AccessRecord record;
  record.time = std::chrono::system_clock::now();
  record.verdict = AccessVerdict::kDenied;
  record.protocol = "tcp";
  record.direction = labels.direction;
  record.source = labels.source;
  record.destination = labels.destination;
  if (gate.denying_rule() != nullptr) {
    record.denied_by = gate.denying_rule()->label;
  }
  record.reason = reason;
  if (!x_context.access_log.write(x_context.worker.index(), record)) {
    metrics.access_log_lost.add();
  }
  net::SocketStream(std::move(socket)).abort();
}

} // namespace weir::session
