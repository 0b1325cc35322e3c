#include "proxy/net/socket_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weir::net {
namespace asio = boost::asio;

namespace {

// Joined sockets are faster than TCP up to bodies of some 200 KiB, and slower beyond: more than a
// reader's queue may hold goes by TCP, and from a joined socket in smaller packets. So a connection
// may move twice kTurn for each question and answer, and kMuch besides.
constexpr std::size_t kTurn = 96 * 1024;
constexpr std::size_t kMuch = 256 * 1024;

void set_option(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

void set_linger(int fd, bool reset_on_close) {
  const linger value{reset_on_close ? 1 : 0, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

// Beyond an initial window (ten segments, RFC 6928) the last part waits for acknowledgements
// anyway, and the end is said meanwhile. Holding back saves 8 % of the proxy's time for answers of
// 8 kB, nothing for 13 kB, and costs 8 % for 16 KiB.
constexpr std::size_t kHeldBack = 8192;

bool fits_one_flight(std::span<const iovec> parts) {
  std::size_t bytes = 0;
  for (const iovec& part : parts) {
    bytes += part.iov_len;
  }
  return bytes <= kHeldBack;
}

} // namespace

SocketStream::SocketStream(asio::ip::tcp::socket socket, const ShortWay* short_way)
    : x_socket(std::move(socket)), x_short_way(short_way) {
  set_linger(x_socket.native_handle(), true);
}

void SocketStream::moved(Way way, std::size_t bytes) {
  if (x_short_way == nullptr) {
    return;
  }
  if (way != x_way) {
    x_way = way;
    x_much -= std::min(x_much, kTurn);
  }
  x_much += bytes;
  leave_if_much();
}

void SocketStream::leave_if_much() {
  if (x_much > kMuch && x_short_way->leave(x_socket.native_handle())) {
    x_short_way = nullptr;
  }
}

// Known beforehand, not even a beginning of it needs to go the wrong way.
void SocketStream::expect_bytes(std::uint64_t bytes) {
  if (x_short_way != nullptr && bytes > 2 * kTurn) {
    x_much += kMuch + bytes;
    leave_if_much();
  }
}

asio::awaitable<IoResult> SocketStream::read_some(std::span<char> into) {
  const auto [error, bytes] = co_await x_socket.async_read_some(
      asio::buffer(into.data(), into.size()), asio::as_tuple(asio::deferred));
  moved(Way::kIn, bytes);
  co_return IoResult{error, bytes};
}

// Nagle's algorithm holds nothing back while all that was sent is acknowledged, so the first write
// needs no option; many connections have no second one.
void SocketStream::do_not_delay() {
  if (x_written && !x_no_delay) {
    set_option(x_socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, 1);
    x_no_delay = true;
  }
  x_written = true;
}

IoResult SocketStream::try_write(std::span<const iovec> parts) {
  do_not_delay();
  if (x_end_expected && !x_held_back && fits_one_flight(parts)) {
    x_held_back = true;
    // Rather than MSG_MORE, because joined sockets (redirect-bpf) can see it: they have no packet
    // that bytes and end could share, so such bytes go by TCP.
    set_option(x_socket.native_handle(), IPPROTO_TCP, TCP_CORK, 1);
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  for (;;) {
    const ssize_t sent = ::sendmsg(x_socket.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      moved(Way::kOut, static_cast<std::size_t>(sent));
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

void SocketStream::expect_end() { x_end_expected = true; }

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
