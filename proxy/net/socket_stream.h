// A TCP connection as a Stream. While it lives, SO_LINGER {1, 0} is set: if the process dies, the
// kernel resets the connection, so that a message that was cut never looks complete (a body may
// end with the connection). close() takes that back first.
#pragma once

#include "proxy/net/short_way.h"
#include "proxy/net/stream.h"

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>

namespace weir::net {

class SocketStream final : public Stream {
public:
  // A connected socket. Sets SO_LINGER, and in time TCP_NODELAY. The short way outlives it; null:
  // there is none.
  explicit SocketStream(boost::asio::ip::tcp::socket socket, const ShortWay* short_way = nullptr);
  // Still open here means that the session ended in the middle of something: a reset.
  ~SocketStream() override = default;

  boost::asio::awaitable<IoResult> read_some(std::span<char> into) override;
  IoResult try_write(std::span<const iovec> parts) override;
  boost::asio::awaitable<ErrorCode> wait_writable() override;
  void cancel() override;
  void expect_end() override;
  void expect_bytes(std::uint64_t bytes) override;
  void shutdown_write() override;
  void close() override;
  void abort() override;
  bool stale() override;

private:
  enum class Way : std::uint8_t { kIn, kOut };
  void moved(Way way, std::size_t bytes);
  void leave_if_much();
  void do_not_delay();

  boost::asio::ip::tcp::socket x_socket;
  const ShortWay* x_short_way; // null: left, or none
  std::size_t x_much = 0;      // bytes moved lately, less an allowance for each turn
  Way x_way = Way::kIn;
  bool x_end_expected = false;
  bool x_held_back = false; // what is written waits for the end
  bool x_written = false;   // something
  bool x_no_delay = false;  // TCP_NODELAY is set
};

} // namespace weir::net
