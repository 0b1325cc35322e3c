#include "proxy/session/dns_upstream.h"

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "proxy/session/timed_socket.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;

namespace {

// How many wrong datagrams are looked at before others get their turn.
constexpr int kMaxDatagramsAtOnce = 32;

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<UniqueFd> open_socket(const DnsFlow& flow, int type) {
  const bool v4 = flow.server.value.ip.is_v4();
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return errno_error("socket");
  }
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  // Without a connection, ICMP errors are told only to those who ask for them.
  if (type == SOCK_DGRAM && !set_option(fd.get(), level, v4 ? IP_RECVERR : IPV6_RECVERR, 1)) {
    return errno_error("IP_RECVERR");
  }
  if (!flow.transparent) {
    return fd;
  }
  if (!set_option(fd.get(), level, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1) ||
      !set_option(fd.get(), SOL_SOCKET, SO_MARK, WEIR_MARK_FROM_PROXY)) {
    return errno_error("IP_TRANSPARENT, SO_MARK");
  }
  // TCP: the port is chosen with the destination in mind, so that they do not run out.
  if (type == SOCK_STREAM && !set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) {
    return errno_error("IP_BIND_ADDRESS_NO_PORT");
  }
  sockaddr_storage source{};
  const socklen_t length = SocketAddress{flow.client.value.ip, 0}.to_sockaddr(source);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&source), length) != 0) {
    return errno_error("bind " + flow.client.value.ip.to_string());
  }
  return fd;
}

bool send_datagram(int fd, const SocketAddress& to, dns::BytesView message) {
  sockaddr_storage storage{};
  const socklen_t length = to.to_sockaddr(storage);
  return ::sendto(fd, message.data(), message.size(), MSG_DONTWAIT,
                  reinterpret_cast<const sockaddr*>(&storage),
                  length) == static_cast<ssize_t>(message.size());
}

enum class Received : std::uint8_t { kAnswer, kNothingYet, kError };

// Fills `answer` with the first datagram that is the answer.
Received receive_answer(int fd, const UpstreamQuery& query, std::span<std::uint8_t> scratch,
                        dns::Bytes& answer) {
  for (int i = 0; i < kMaxDatagramsAtOnce; ++i) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const ssize_t got = ::recvfrom(fd, scratch.data(), scratch.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&storage), &length);
    if (got < 0) {
      return errno == EAGAIN || errno == EINTR ? Received::kNothingYet : Received::kError;
    }
    const auto datagram = scratch.first(static_cast<std::size_t>(got));
    if (SocketAddress::from_sockaddr(storage) == query.flow.server.value &&
        dns::answers(datagram, query.message, query.question, query.id)) {
      answer.assign(datagram.begin(), datagram.end());
      return Received::kAnswer;
    }
    query.metrics.dns_mismatched.add();
  }
  return Received::kNothingYet;
}

// What ended the exchange; nothing when it goes on. The gate is asked, because a cancellation that
// meets an operation which is over already leaves no other trace.
template <typename Socket>
std::optional<UpstreamAnswer> ended(const UpstreamQuery& query, const TimedSocket<Socket>& socket,
                                    const boost::system::error_code& error,
                                    std::string_view by_error) {
  if (socket.expired) {
    return UpstreamAnswer{kUpstreamTimeout, {}};
  }
  if (query.gate.closed()) {
    return UpstreamAnswer{kStopped, {}};
  }
  if (error) {
    return UpstreamAnswer{by_error, {}};
  }
  return std::nullopt;
}

} // namespace

asio::awaitable<UpstreamAnswer> ask_over_udp(UpstreamQuery query, std::span<std::uint8_t> scratch) {
  auto fd = open_socket(query.flow, SOCK_DGRAM);
  if (!fd) {
    co_return UpstreamAnswer{kUpstreamUnreachable, {}};
  }
  const auto upstream =
      std::make_shared<TimedSocket<udp::socket>>(co_await asio::this_coro::executor);
  boost::system::error_code assigned;
  upstream->socket.assign(query.flow.server.value.ip.is_v4() ? udp::v4() : udp::v6(), fd->get(),
                          assigned);
  if (assigned) {
    co_return UpstreamAnswer{kUpstreamUnreachable, {}};
  }
  const int native = fd->release();
  if (!send_datagram(native, query.flow.server.value, query.message)) {
    co_return UpstreamAnswer{kUpstreamUnreachable, {}};
  }
  upstream->close_at(query.deadline);
  for (;;) {
    const auto [error] = co_await upstream->socket.async_wait(udp::socket::wait_read,
                                                              asio::as_tuple(asio::deferred));
    if (auto end = ended(query, *upstream, error, kUpstreamUnreachable)) {
      co_return *std::move(end);
    }
    UpstreamAnswer answer;
    switch (receive_answer(native, query, scratch, answer.message)) {
    case Received::kAnswer:
      co_return answer;
    case Received::kError:
      co_return UpstreamAnswer{kUpstreamUnreachable, {}};
    case Received::kNothingYet:
      break;
    }
  }
}

struct DnsTcpUpstream::Connection : TimedSocket<tcp::socket> {
  using TimedSocket::TimedSocket;
};

DnsTcpUpstream::DnsTcpUpstream() = default;
DnsTcpUpstream::~DnsTcpUpstream() = default;

asio::awaitable<UpstreamAnswer> DnsTcpUpstream::ask(UpstreamQuery query) {
  const bool waited = x_connection != nullptr;
  UpstreamAnswer answer = co_await ask_once(query);
  if (waited && answer.failure == kUpstreamClosed) {
    x_connection.reset();
    answer = co_await ask_once(query);
  }
  if (answer.failure.empty()) {
    x_connection->never_close();
  } else {
    x_connection.reset();
  }
  co_return answer;
}

asio::awaitable<UpstreamAnswer> DnsTcpUpstream::ask_once(UpstreamQuery query) {
  constexpr auto kToken = asio::as_tuple(asio::deferred);
  if (x_connection == nullptr) {
    auto fd = open_socket(query.flow, SOCK_STREAM);
    if (!fd) {
      co_return UpstreamAnswer{kUpstreamUnreachable, {}};
    }
    const bool v4 = query.flow.server.value.ip.is_v4();
    x_connection = std::make_shared<Connection>(co_await asio::this_coro::executor);
    boost::system::error_code error;
    x_connection->socket.assign(v4 ? tcp::v4() : tcp::v6(), fd->get(), error);
    if (error) {
      co_return UpstreamAnswer{kUpstreamUnreachable, {}};
    }
    static_cast<void>(fd->release());
    x_connection->close_at(query.deadline);
    sockaddr_storage storage{};
    const socklen_t length = query.flow.server.value.to_sockaddr(storage);
    tcp::endpoint server;
    server.resize(length);
    std::memcpy(server.data(), &storage, length);
    std::tie(error) = co_await x_connection->socket.async_connect(server, kToken);
    if (auto end = ended(query, *x_connection, error, kUpstreamUnreachable)) {
      co_return *std::move(end);
    }
  } else {
    x_connection->close_at(query.deadline);
  }

  tcp::socket& socket = x_connection->socket;
  const dns::Bytes frame = dns::framed(query.message);
  auto [error, moved] = co_await asio::async_write(socket, asio::buffer(frame), kToken);
  if (auto end = ended(query, *x_connection, error, kUpstreamClosed)) {
    co_return *std::move(end);
  }
  for (;;) {
    std::array<std::uint8_t, 2> prefix{};
    std::tie(error, moved) = co_await asio::async_read(socket, asio::buffer(prefix), kToken);
    if (auto end = ended(query, *x_connection, error, kUpstreamClosed)) {
      co_return *std::move(end);
    }
    UpstreamAnswer answer;
    answer.message.resize(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
    std::tie(error, moved) =
        co_await asio::async_read(socket, asio::buffer(answer.message), kToken);
    if (auto end = ended(query, *x_connection, error, kUpstreamClosed)) {
      co_return *std::move(end);
    }
    if (dns::answers(answer.message, query.message, query.question, query.id)) {
      co_return answer;
    }
    query.metrics.dns_mismatched.add();
  }
}

} // namespace weir::session
