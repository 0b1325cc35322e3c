#include "proxy/session/dns_tcp_session.h"

#include "proxy/session/dns_gate_policy.h"
#include "proxy/session/timed_socket.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include <netinet/in.h>

#include <array>
#include <tuple>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

struct ConnectionCount {
  explicit ConnectionCount(WorkerMetrics& counted) : metrics(counted) {
    metrics.dns_tcp_connections_opened.add();
  }
  ~ConnectionCount() { metrics.dns_tcp_connections_closed.add(); }
  ConnectionCount(const ConnectionCount&) = delete;
  ConnectionCount& operator=(const ConnectionCount&) = delete;

  WorkerMetrics& metrics;
};

} // namespace

asio::awaitable<void> serve_dns_tcp(DnsService& service, tcp::socket socket, DnsFlow flow,
                                    std::shared_ptr<DnsPolicy> policy) {
  constexpr auto kToken = asio::as_tuple(asio::deferred);
  co_await asio::this_coro::throw_if_cancelled(false);
  const ConnectionCount count(service.worker().metrics());
  const auto client = std::make_shared<TimedSocket<tcp::socket>>(std::move(socket));
  DnsTcpUpstream upstream;
  dns::Bytes message;
  // A cancellation that meets an operation which is over already leaves no trace but the gate's.
  const auto ended = [&gate = service.worker().gate()](const boost::system::error_code& error) {
    return error || gate.closed();
  };
  for (;;) {
    client->close_at(TimedClock::now() + service.options().tcp_idle);
    std::array<std::uint8_t, 2> prefix{};
    auto [error, moved] = co_await asio::async_read(client->socket, asio::buffer(prefix), kToken);
    if (ended(error)) {
      co_return;
    }
    message.resize(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
    std::tie(error, moved) =
        co_await asio::async_read(client->socket, asio::buffer(message), kToken);
    if (ended(error)) {
      co_return;
    }
    auto begun = service.begin(flow, policy, message);
    if (begun.ask != nullptr) {
      client->never_close(); // the exchange has a deadline of its own
      begun.answer = co_await service.finish(std::move(begun.ask), &upstream);
    }
    if (begun.answer.empty()) {
      co_return;
    }
    const dns::Bytes frame = dns::framed(begun.answer);
    client->close_at(TimedClock::now() + service.options().tcp_idle);
    std::tie(error, moved) =
        co_await asio::async_write(client->socket, asio::buffer(frame), kToken);
    if (ended(error)) {
      co_return;
    }
  }
}

asio::awaitable<void> serve_dns_tcp(DnsService& service, SessionContext& context,
                                    tcp::socket socket, std::unique_ptr<PolicyGate> gate,
                                    TcpFlow flow) {
  return serve_dns_tcp(service, std::move(socket),
                       DnsFlow{flow.client, flow.destination, IPPROTO_TCP, flow.transparent},
                       std::make_shared<GateDnsPolicy>(context.fqdn_cache, std::move(gate)));
}

} // namespace weir::session
