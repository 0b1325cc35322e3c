#include "proxy/net/socket_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weir::net {
namespace asio = boost::asio;

namespace {

void set_linger(int fd, bool reset_on_close) {
  const linger value{reset_on_close ? 1 : 0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

} // namespace

SocketStream::SocketStream(asio::ip::tcp::socket socket) : x_socket(std::move(socket)) {
  const int fd = x_socket.native_handle();
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  set_linger(fd, true);
}

asio::awaitable<IoResult> SocketStream::read_some(std::span<char> into) {
  const auto [error, bytes] = co_await x_socket.async_read_some(
      asio::buffer(into.data(), into.size()), asio::as_tuple(asio::deferred));
  co_return IoResult{error, bytes};
}

IoResult SocketStream::try_write(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  for (;;) {
    const ssize_t sent = ::sendmsg(x_socket.native_handle(), &message,
                                   MSG_DONTWAIT | MSG_NOSIGNAL | (x_end_expected ? MSG_MORE : 0));
    if (sent >= 0) {
      return {{}, static_cast<std::size_t>(sent)};
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return {};
    }
    if (errno != EINTR) {
      return {{errno, boost::system::system_category()}, 0};
    }
  }
}

asio::awaitable<ErrorCode> SocketStream::wait_writable() {
  const auto [error] = co_await x_socket.async_wait(asio::ip::tcp::socket::wait_write,
                                                    asio::as_tuple(asio::deferred));
  co_return error;
}

void SocketStream::cancel() {
  ErrorCode ignored;
  x_socket.cancel(ignored);
}

void SocketStream::shutdown_write() {
  ErrorCode ignored;
  x_socket.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void SocketStream::close() {
  if (x_socket.is_open()) {
    if (x_end_expected) {
      shutdown_write(); // what waits goes out, also where unread bytes make a reset of close()
    }
    set_linger(x_socket.native_handle(), false);
    ErrorCode ignored;
    x_socket.close(ignored);
  }
}

void SocketStream::abort() {
  ErrorCode ignored;
  x_socket.close(ignored);
}

bool SocketStream::stale() {
  char byte;
  const ssize_t got = ::recv(x_socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

} // namespace weir::net
