#include "proxy/net/stream.h"

#include <boost/asio/this_coro.hpp>

namespace weir::net {

void Gather::advance(std::size_t bytes) {
  while (bytes > 0) {
    iovec& part = x_parts[x_begin];
    if (bytes < part.iov_len) {
      part.iov_base = static_cast<char*>(part.iov_base) + bytes;
      part.iov_len -= bytes;
      return;
    }
    bytes -= part.iov_len;
    ++x_begin;
  }
}

bool write_now(Stream& stream, Gather& gather, ErrorCode& error) {
  while (!gather.empty()) {
    const IoResult result = stream.try_write(gather.parts());
    if (result.error) {
      error = result.error;
      return true;
    }
    if (result.bytes == 0) {
      return false;
    }
    gather.advance(result.bytes);
  }
  return true;
}

boost::asio::awaitable<ErrorCode> write_rest(Stream& stream, Gather& gather) {
  ErrorCode error;
  while (!write_now(stream, gather, error)) {
    error = co_await stream.wait_writable();
    if (error) {
      break;
    }
  }
  co_return error;
}

} // namespace weir::net
