#include "test/support/memory_stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::test {
namespace asio = boost::asio;

void MemoryPeer::write(std::string_view bytes) {
  x_to->bytes.append(bytes);
  x_to->reader.cancel();
}

void MemoryPeer::end() {
  x_to->ended = true;
  x_to->reader.cancel();
}

void MemoryPeer::reset() {
  x_to->reset = x_from->reset = true;
  x_to->reader.cancel();
  x_from->writer.cancel();
}

std::string MemoryPeer::take() {
  x_from->writer.cancel();
  return std::exchange(x_from->bytes, {});
}

asio::awaitable<net::IoResult> MemoryStream::read_some(std::span<char> into) {
  for (;;) {
    if (x_closed) {
      co_return net::IoResult{asio::error::bad_descriptor, 0};
    }
    if (x_in->reset) {
      co_return net::IoResult{asio::error::connection_reset, 0};
    }
    if (!x_in->bytes.empty()) {
      const std::size_t count = std::min(into.size(), x_in->bytes.size());
      std::memcpy(into.data(), x_in->bytes.data(), count);
      x_in->bytes.erase(0, count);
      co_return net::IoResult{{}, count};
    }
    if (x_in->ended) {
      co_return net::IoResult{asio::error::eof, 0};
    }
    co_await x_in->reader.async_wait(asio::as_tuple(asio::deferred));
    // Woken for no reason of the pipe's own: cancelled.
    if (x_in->bytes.empty() && !x_in->ended && !x_in->reset) {
      co_return net::IoResult{asio::error::operation_aborted, 0};
    }
  }
}

net::IoResult MemoryStream::try_write(std::span<const iovec> parts) {
  if (x_closed || x_out->ended) {
    return {asio::error::broken_pipe, 0};
  }
  if (x_out->reset) {
    return {asio::error::connection_reset, 0};
  }
  std::size_t written = 0;
  for (const iovec& part : parts) {
    const std::size_t room = x_out->capacity - std::min(x_out->capacity, x_out->bytes.size());
    const std::size_t count = std::min(room, part.iov_len);
    x_out->bytes.append(static_cast<const char*>(part.iov_base), count);
    written += count;
  }
  return {{}, written};
}

asio::awaitable<net::ErrorCode> MemoryStream::wait_writable() {
  if (x_out->bytes.size() < x_out->capacity || x_closed) {
    co_return net::ErrorCode{};
  }
  co_await x_out->writer.async_wait(asio::as_tuple(asio::deferred));
  co_return x_out->bytes.size() < x_out->capacity || x_out->reset
      ? net::ErrorCode{}
      : net::ErrorCode{asio::error::operation_aborted};
}

void MemoryStream::cancel() {
  x_in->reader.cancel();
  x_out->writer.cancel();
}

void MemoryStream::shutdown_write() { x_out->ended = true; }

void MemoryStream::close() {
  if (!std::exchange(x_closed, true)) {
    x_out->ended = true;
    cancel();
  }
}

void MemoryStream::abort() {
  if (!std::exchange(x_closed, true)) {
    x_out->reset = true;
    cancel();
  }
}

bool MemoryStream::stale() {
  return x_closed || x_in->ended || x_in->reset || !x_in->bytes.empty();
}

MemoryConnection make_memory_connection(asio::io_context& context) {
  auto in = std::make_shared<MemoryPipe>(context);
  auto out = std::make_shared<MemoryPipe>(context);
  return {std::make_unique<MemoryStream>(in, out), MemoryPeer(in, out)};
}

} // namespace weir::test
