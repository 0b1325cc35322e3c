// Wraps a Stream so that bytes come and go in other pieces than they were written in: nothing that
// a session does may depend on how TCP cut them.
#pragma once

#include "proxy/net/stream.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace weir::test {

class FragmentingStream final : public net::Stream {
public:
  // The first read gives at most `first` bytes, the others and each write at most `then`.
  FragmentingStream(std::unique_ptr<net::Stream> inner, std::size_t first, std::size_t then)
      : x_inner(std::move(inner)), x_next(first), x_then(then) {}

  boost::asio::awaitable<net::IoResult> read_some(std::span<char> into) override {
    return x_inner->read_some(into.first(std::min(into.size(), std::exchange(x_next, x_then))));
  }
  net::IoResult try_write(std::span<const iovec> parts) override {
    iovec part = parts.front();
    part.iov_len = std::min(part.iov_len, x_then);
    return x_inner->try_write({&part, 1});
  }
  boost::asio::awaitable<net::ErrorCode> wait_writable() override {
    return x_inner->wait_writable();
  }
  void cancel() override { x_inner->cancel(); }
  void expect_bytes(std::uint64_t bytes) override { x_inner->expect_bytes(bytes); }
  void shutdown_write() override { x_inner->shutdown_write(); }
  void close() override { x_inner->close(); }
  void abort() override { x_inner->abort(); }
  bool stale() override { return x_inner->stale(); }

private:
  std::unique_ptr<net::Stream> x_inner;
  std::size_t x_next, x_then;
};

} // namespace weir::test
