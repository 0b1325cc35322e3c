#include "proxy/session/dns_tcp_session.h"

#include "proxy/session/dns_gate_policy.h"
#include "proxy/session/dns_tcp_upstream.h"
#include "proxy/session/timed_socket.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include <netinet/in.h>

#include <array>
#include <optional>
#include <tuple>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// Beyond either the session reads no more until there is room again.
constexpr std::size_t kMaxPending = 64;
constexpr std::size_t kMaxUnsent = 256 * 1024;

// Kept by shared_ptr: the writer's coroutine may end after the reader's.
class DnsTcpSession final : public DnsClient, public std::enable_shared_from_this<DnsTcpSession> {
public:
  DnsTcpSession(DnsService& service, tcp::socket socket, const DnsFlow& flow,
                std::shared_ptr<DnsPolicy> policy)
      : x_service(service), x_client(std::make_shared<TimedSocket<tcp::socket>>(std::move(socket))),
        x_room(x_client->socket.get_executor()),
        x_upstream(service.worker().context(), service.worker().gate(), service.worker().metrics(),
                   service.ids()),
        x_origin{flow, std::move(policy), *this, {}, &x_upstream} {
    service.worker().metrics().dns_tcp_connections_opened.add();
  }
  ~DnsTcpSession() override { x_service.worker().metrics().dns_tcp_connections_closed.add(); }

  static asio::awaitable<void> run(std::shared_ptr<DnsTcpSession> session) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await session->read();
    session->x_service.forget(*session);
    session->x_client->never_close();
    boost::system::error_code ignored;
    session->x_client->socket.close(ignored);
  }

  void send(const SocketAddress& /*from*/, const SocketAddress& /*to*/,
            dns::BytesView answer) override {
    --x_pending;
    if (!answer.empty()) {
      const dns::Bytes frame = dns::framed(answer);
      x_unsent.insert(x_unsent.end(), frame.begin(), frame.end());
      if (!std::exchange(x_writing, true)) {
        x_service.worker().gate().spawn(write(shared_from_this()));
      }
    }
    there_is_news();
  }

private:
  // Until the client has closed and has all its answers, is idle for too long, or breaks the rules.
  asio::awaitable<void> read() {
    constexpr auto kToken = asio::as_tuple(asio::deferred);
    dns::Bytes message;
    for (;;) {
      while (x_pending >= kMaxPending || x_unsent.size() >= kMaxUnsent) {
        co_await news();
        if (over()) {
          co_return;
        }
      }
      extend();
      std::array<std::uint8_t, 2> prefix{};
      auto [error, moved] =
          co_await asio::async_read(x_client->socket, asio::buffer(prefix), kToken);
      if (over()) {
        co_return;
      }
      if (error == asio::error::eof && moved == 0) {
        break; // a client may close its half once it has asked everything
      }
      if (!error) {
        message.resize(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
        std::tie(error, moved) =
            co_await asio::async_read(x_client->socket, asio::buffer(message), kToken);
      }
      if (error || over()) {
        co_return;
      }
      ++x_pending;
      switch (x_service.take(x_origin, message)) {
      case DnsService::Taken::kAnswered:
      case DnsService::Taken::kPending:
        break; // send() counts
      case DnsService::Taken::kDropped:
      case DnsService::Taken::kNoQuery:
        co_return;
      }
    }
    while (x_pending > 0 || x_writing) {
      co_await news();
      if (over()) {
        co_return;
      }
    }
  }

  static asio::awaitable<void> write(std::shared_ptr<DnsTcpSession> session) {
    co_await asio::this_coro::throw_if_cancelled(false);
    while (!session->x_unsent.empty()) {
      const dns::Bytes sending = std::exchange(session->x_unsent, {});
      const auto [error, moved] = co_await asio::async_write(
          session->x_client->socket, asio::buffer(sending), asio::as_tuple(asio::deferred));
      if (error || session->over()) {
        session->x_broken = true;
        break;
      }
      session->extend();
      session->there_is_news();
    }
    session->x_writing = false;
    session->there_is_news();
  }

  // A cancellation that meets an operation which is over already leaves no trace but the gate's.
  [[nodiscard]] bool over() const {
    return x_broken || x_client->expired || x_service.worker().gate().closed();
  }
  // The client has time from its last answer on; while one is awaited, that one's time besides.
  void extend() {
    x_client->close_at(
        TimedClock::now() + x_service.options().tcp_idle +
        (x_pending > 0 ? x_service.options().upstream_timeout : std::chrono::milliseconds(0)));
  }
  asio::awaitable<void> news() {
    x_room.expires_at(TimedClock::time_point::max());
    co_await x_room.async_wait(asio::as_tuple(asio::deferred));
  }
  void there_is_news() { x_room.cancel(); }

  DnsService& x_service;
  const std::shared_ptr<TimedSocket<tcp::socket>> x_client;
  asio::steady_timer x_room;
  DnsTcpUpstream x_upstream;
  const DnsOrigin x_origin;
  std::size_t x_pending = 0; // queries without an answer yet
  dns::Bytes x_unsent;
  bool x_writing = false;
  bool x_broken = false;
};

} // namespace

asio::awaitable<void> serve_dns_tcp(DnsService& service, tcp::socket socket, DnsFlow flow,
                                    std::shared_ptr<DnsPolicy> policy) {
  return DnsTcpSession::run(
      std::make_shared<DnsTcpSession>(service, std::move(socket), flow, std::move(policy)));
}

asio::awaitable<void> serve_dns_tcp(DnsService& service, SessionContext& context,
                                    tcp::socket socket, std::unique_ptr<PolicyGate> gate,
                                    TcpFlow flow) {
  std::optional<IpAddress> server;
  if (flow.asked) {
    server = flow.destination.value.ip;
  }
  return serve_dns_tcp(service, std::move(socket),
                       DnsFlow{flow.client, flow.destination, IPPROTO_TCP, flow.source},
                       std::make_shared<GateDnsPolicy>(context, std::move(gate), server));
}

} // namespace weir::session
