#include "proxy/session/dns_tcp_upstream.h"

#include "proxy/base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <cstring>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::tcp;

struct DnsTcpUpstream::Connection {
  explicit Connection(DnsTcpUpstream& upstream)
      : owner(&upstream), socket(upstream.x_context), gate(upstream.x_gate) {}

  DnsTcpUpstream* owner; // null: left, its coroutines end
  tcp::socket socket;
  runtime::Gate& gate;
  bool connected = false;
  bool writing = false;
  bool has_answered = false;
  bool silent = true; // nothing came since the oldest question was asked
  dns::Bytes to_send;
  std::unordered_map<std::uint16_t, DnsQuestion*> pending;
};

DnsTcpUpstream::DnsTcpUpstream(asio::io_context& context, runtime::Gate& gate,
                               WorkerMetrics& metrics, DnsIds& ids)
    : x_context(context), x_gate(gate), x_metrics(metrics), x_ids(ids) {}

DnsTcpUpstream::~DnsTcpUpstream() {
  if (x_connection != nullptr) {
    leave(*x_connection, DnsRefused::kUpstreamClosed);
  }
}

bool DnsTcpUpstream::ask(DnsQuestion& question) {
  if (x_connection == nullptr) {
    x_connection = open(question.flow);
    if (x_connection == nullptr) {
      return false;
    }
  }
  Connection& connection = *x_connection;
  do {
    question.upstream_id = x_ids.next();
  } while (connection.pending.contains(question.upstream_id));
  dns::set_message_id(question.message, question.upstream_id);
  if (connection.pending.empty()) {
    connection.silent = true;
  }
  connection.pending.emplace(question.upstream_id, &question);
  question.carried_by = &connection;
  const dns::Bytes frame = dns::framed(question.message);
  connection.to_send.insert(connection.to_send.end(), frame.begin(), frame.end());
  if (connection.connected && !connection.writing) {
    connection.writing = true;
    x_gate.spawn(write(x_connection));
  }
  return true;
}

void DnsTcpUpstream::withdraw(DnsQuestion& question, bool timed_out) {
  auto* connection = static_cast<Connection*>(std::exchange(question.carried_by, nullptr));
  if (connection == nullptr) {
    return;
  }
  connection->pending.erase(question.upstream_id);
  if (timed_out && connection->silent) {
    leave(*connection, DnsRefused::kUpstreamTimeout); // the server is gone without a word
  }
}

std::shared_ptr<DnsTcpUpstream::Connection> DnsTcpUpstream::open(const DnsFlow& flow) {
  auto fd = open_upstream_socket(flow, SOCK_STREAM);
  if (!fd) {
    log::debug("DNS upstream: {}", fd.error().text());
    return nullptr;
  }
  auto connection = std::make_shared<Connection>(*this);
  boost::system::error_code error;
  connection->socket.assign(flow.server.value.ip.is_v4() ? tcp::v4() : tcp::v6(), fd->get(), error);
  if (error) {
    return nullptr;
  }
  static_cast<void>(fd->release());
  x_gate.spawn(run(connection, flow.server.value));
  return connection;
}

// No more is asked over it. What is pending is asked anew where that makes sense.
void DnsTcpUpstream::leave(Connection& connection, DnsRefused why) {
  const auto kept = std::exchange(x_connection, nullptr); // the coroutines may have ended
  connection.owner = nullptr;
  boost::system::error_code ignored;
  connection.socket.close(ignored);
  const bool again = connection.has_answered && why == DnsRefused::kUpstreamClosed;
  for (const auto& [id, question] : std::exchange(connection.pending, {})) {
    question->carried_by = nullptr;
    if (again && !std::exchange(question->asked_again, true) && ask(*question)) {
      continue;
    }
    question->failed(why);
  }
}

void DnsTcpUpstream::take(Connection& connection, dns::Bytes& answer) {
  const auto at = answer.size() < dns::kHeaderSize
                      ? connection.pending.end()
                      : connection.pending.find(dns::message_id(answer));
  if (at == connection.pending.end() ||
      !dns::answers(answer, at->second->message, at->second->query.question, at->first)) {
    x_metrics.dns_mismatched.add();
    return;
  }
  DnsQuestion& question = *at->second;
  connection.pending.erase(at);
  connection.has_answered = true;
  connection.silent = false;
  question.carried_by = nullptr;
  question.answered(answer);
}

asio::awaitable<void> DnsTcpUpstream::run(std::shared_ptr<Connection> connection,
                                          SocketAddress server) {
  constexpr auto kToken = asio::as_tuple(asio::deferred);
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto left = [&connection] {
    return connection->owner == nullptr || connection->gate.closed();
  };
  sockaddr_storage storage{};
  const socklen_t length = server.to_sockaddr(storage);
  tcp::endpoint endpoint;
  endpoint.resize(length);
  std::memcpy(endpoint.data(), &storage, length);
  auto [error] = co_await connection->socket.async_connect(endpoint, kToken);
  if (left()) {
    co_return;
  }
  if (error) {
    connection->owner->leave(*connection, DnsRefused::kUpstreamUnreachable);
    co_return;
  }
  connection->connected = true;
  if (!connection->to_send.empty()) {
    connection->writing = true;
    connection->gate.spawn(write(connection));
  }
  dns::Bytes answer;
  for (;;) {
    std::array<std::uint8_t, 2> prefix{};
    std::size_t moved = 0;
    std::tie(error, moved) =
        co_await asio::async_read(connection->socket, asio::buffer(prefix), kToken);
    if (!error) {
      answer.resize(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
      std::tie(error, moved) =
          co_await asio::async_read(connection->socket, asio::buffer(answer), kToken);
    }
    if (left()) {
      co_return;
    }
    if (error) {
      connection->owner->leave(*connection, DnsRefused::kUpstreamClosed);
      co_return;
    }
    connection->owner->take(*connection, answer);
    if (left()) {
      co_return; // the answer was the session's last
    }
  }
}

asio::awaitable<void> DnsTcpUpstream::write(std::shared_ptr<Connection> connection) {
  co_await asio::this_coro::throw_if_cancelled(false);
  while (!connection->to_send.empty()) {
    const dns::Bytes sending = std::exchange(connection->to_send, {});
    const auto [error, moved] = co_await asio::async_write(
        connection->socket, asio::buffer(sending), asio::as_tuple(asio::deferred));
    if (error || connection->owner == nullptr || connection->gate.closed()) {
      break; // the reader notices, and says so
    }
  }
  connection->writing = false;
}

} // namespace weir::session
