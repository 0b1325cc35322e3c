#include "proxy/net/connector.h"

#include "proxy/net/address.h"
#include "proxy/net/socket_stream.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weir::net {
namespace asio = boost::asio;

namespace {

ErrorCode from_errno() { return {errno, boost::system::system_category()}; }

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

ErrorCode bind_to_source(int fd, const IpAddress& source) {
  const bool v4 = source.is_v4();
  // IP_BIND_ADDRESS_NO_PORT leaves the port to connect(), which only needs the pair with this
  // destination to be free, so that more than 28,000 connections fit on one address. It is an
  // option of level IPPROTO_IP for both families.
  if (!set_option(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1) ||
      !set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) ||
      !set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1) || // as what listener.cc accepts
      !set_option(fd, SOL_SOCKET, SO_MARK, static_cast<int>(WEIR_MARK_FROM_PROXY))) {
    return from_errno();
  }
  sockaddr_storage storage{};
  const socklen_t length = SocketAddress{source, 0}.to_sockaddr(storage);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) < 0) {
    return from_errno();
  }
  return {};
}

// The socket does not block, so that "in progress" is no error.
ErrorCode begin_to_connect(int fd, const SocketAddress& destination) {
  sockaddr_storage storage{};
  const socklen_t length = destination.to_sockaddr(storage);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&storage), length) < 0 &&
      errno != EINPROGRESS) {
    return from_errno();
  }
  return {};
}

bool is_connected(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0;
}

ErrorCode pending_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) {
    return from_errno();
  }
  return {error, boost::system::system_category()};
}

asio::awaitable<ErrorCode> wait_until_connected(asio::ip::tcp::socket& socket,
                                                std::chrono::milliseconds timeout) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor, timeout);
  while (!is_connected(socket.native_handle())) {
    const auto first = co_await (
        socket.async_wait(asio::ip::tcp::socket::wait_write, asio::as_tuple(asio::use_awaitable)) ||
        timer.async_wait(asio::as_tuple(asio::use_awaitable)));
    if (first.index() == 1) {
      const ErrorCode error = std::get<0>(std::get<1>(first));
      co_return error ? error : ErrorCode(asio::error::timed_out);
    }
    ErrorCode error = std::get<0>(std::get<0>(first));
    if (!error) {
      error = pending_error(socket.native_handle());
    }
    if (error) {
      co_return error;
    }
  }
  co_return ErrorCode{};
}

} // namespace

asio::awaitable<Connector::Connected> TcpConnector::connect() {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::socket socket(executor);
  ErrorCode error;
  socket.open(to_asio(x_destination).protocol(), error);
  if (!error && x_source) {
    error = bind_to_source(socket.native_handle(), *x_source);
  }
  if (!error) {
    socket.native_non_blocking(true, error);
  }
  if (!error) {
    error = begin_to_connect(socket.native_handle(), x_destination);
  }
  // A server on this node has answered before connect() returns, nearly always: neither a timer
  // nor a turn of the event loop is needed then.
  if (!error && !is_connected(socket.native_handle())) {
    error = co_await wait_until_connected(socket, x_timeout);
  }
  if (error) {
    co_return Connected{error, nullptr};
  }
  co_return Connected{{}, std::make_unique<SocketStream>(std::move(socket), x_short_way)};
}

} // namespace weir::net
