// A TCP connection as a Stream. While it lives, SO_LINGER {1, 0} is set: if the process dies, the
// kernel resets the connection, so that a message that was cut never looks complete (a body may
// end with the connection). close() takes that back first.
#pragma once

#include "proxy/net/stream.h"

#include <boost/asio/ip/tcp.hpp>

namespace weir::net {

class SocketStream final : public Stream {
public:
  // A connected socket. Sets TCP_NODELAY and SO_LINGER.
  explicit SocketStream(boost::asio::ip::tcp::socket socket);
  // Still open here means that the session ended in the middle of something: a reset.
  ~SocketStream() override = default;

  boost::asio::awaitable<IoResult> read_some(std::span<char> into) override;
  IoResult try_write(std::span<const iovec> parts) override;
  boost::asio::awaitable<ErrorCode> wait_writable() override;
  void cancel() override;
  void expect_end() override { x_end_expected = true; }
  void shutdown_write() override;
  void close() override;
  void abort() override;
  bool stale() override;

private:
  boost::asio::ip::tcp::socket x_socket;
  bool x_end_expected = false;
};

} // namespace weir::net
