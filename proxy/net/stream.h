// A connection as a stream of bytes, whatever carries it: sessions run on sockets in production
// and on memory in tests (TLS will be a third). Reads suspend; writes are tried at once, because
// they nearly always succeed, and only a full buffer costs a suspension.
//
// Owned by one session, used on its worker's thread. At most one read and one wait for room may
// be pending at a time. Errors are values; eof (asio::error::eof) is the peer's orderly end,
// operation_aborted follows cancel(), close(), abort() and the gate's end.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/system/error_code.hpp>

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::net {

using ErrorCode = boost::system::error_code;

struct IoResult {
  ErrorCode error;
  std::size_t bytes = 0;
};

class Stream {
public:
  virtual ~Stream() = default;

  // At least one byte, or an error.
  virtual boost::asio::awaitable<IoResult> read_some(std::span<char> into) = 0;
  // As much as goes without waiting; 0 bytes without error: full, wait_writable() first.
  virtual IoResult try_write(std::span<const iovec> parts) = 0;
  virtual boost::asio::awaitable<ErrorCode> wait_writable() = 0;

  // Ends pending operations.
  virtual void cancel() = 0;
  // close() or shutdown_write() follows what is written next: it may wait for that, so that bytes
  // and end are one packet. Whoever reads the bytes alone, and by them knows that the end comes,
  // would close first, and it would be his port that stays in TIME_WAIT.
  virtual void expect_end() {}
  // So many are about to be read or written, none of them yet: for a stream that has another way
  // for much.
  virtual void expect_bytes(std::uint64_t /*bytes*/) {}
  // No more bytes will be written.
  virtual void shutdown_write() = 0;
  // Orderly: what was written arrives.
  virtual void close() = 0;
  // The peer learns that something was cut off.
  virtual void abort() = 0;
  // For a connection that has nothing to say at present: has the peer closed it, or said
  // something all the same?
  virtual bool stale() = 0;
};

// Up to six pieces of text to be written in one go, and how far that has come.
class Gather {
public:
  Gather() = default;
  Gather(std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) {
      add(part);
    }
  }
  void add(std::string_view part) {
    if (!part.empty()) {
      x_parts[x_end++] = {const_cast<char*>(part.data()), part.size()};
    }
  }
  [[nodiscard]] bool empty() const { return x_begin == x_end; }
  [[nodiscard]] std::span<const iovec> parts() const {
    return {x_parts.data() + x_begin, x_end - x_begin};
  }
  void advance(std::size_t bytes);

private:
  std::array<iovec, 6> x_parts{};
  std::size_t x_begin = 0, x_end = 0;
};

// The fast half of a write. True: everything went out, or an error is set.
bool write_now(Stream& stream, Gather& gather, ErrorCode& error);
// The rest, waiting for room as often as it takes.
boost::asio::awaitable<ErrorCode> write_rest(Stream& stream, Gather& gather);

} // namespace weir::net
