// A connection in memory: one end is a Stream for the session under test, the other is in the
// hands of the test, which writes, reads and ends it without suspending. With io_context::poll()
// in between, a test is one deterministic sequence and never waits for time.
#pragma once

#include "proxy/net/stream.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

namespace weir::test {

struct MemoryPipe {
  explicit MemoryPipe(boost::asio::io_context& context) : reader(context), writer(context) {
    reader.expires_at(std::chrono::steady_clock::time_point::max());
    writer.expires_at(std::chrono::steady_clock::time_point::max());
  }
  std::string bytes;
  std::size_t capacity = std::numeric_limits<std::size_t>::max();
  bool ended = false; // the writing side has said its last word
  bool reset = false;
  std::uint64_t expected = 0; // bytes that the session has said are coming, either way
  boost::asio::steady_timer reader, writer; // cancelled to wake who waits
};

// The test's end.
class MemoryPeer {
public:
  MemoryPeer(std::shared_ptr<MemoryPipe> to_session, std::shared_ptr<MemoryPipe> from_session)
      : x_to(std::move(to_session)), x_from(std::move(from_session)) {}

  void write(std::string_view bytes);
  void end();   // half-close
  void reset(); // as a TCP RST, both ways
  // Everything that the session has written since the last call.
  std::string take();
  // The session wrote its last word, in order.
  [[nodiscard]] bool ended() const { return x_from->ended && !x_from->reset; }
  [[nodiscard]] bool was_reset() const { return x_from->reset; }
  [[nodiscard]] std::uint64_t expected() const { return x_from->expected; }
  // From now on the session can write so much before the test takes it.
  void limit(std::size_t capacity) { x_from->capacity = capacity; }

private:
  std::shared_ptr<MemoryPipe> x_to, x_from;
};

class MemoryStream final : public net::Stream {
public:
  MemoryStream(std::shared_ptr<MemoryPipe> in, std::shared_ptr<MemoryPipe> out)
      : x_in(std::move(in)), x_out(std::move(out)) {}
  ~MemoryStream() override { abort(); }

  boost::asio::awaitable<net::IoResult> read_some(std::span<char> into) override;
  net::IoResult try_write(std::span<const iovec> parts) override;
  boost::asio::awaitable<net::ErrorCode> wait_writable() override;
  void cancel() override;
  void expect_bytes(std::uint64_t bytes) override { x_out->expected += bytes; }
  void shutdown_write() override;
  void close() override;
  void abort() override;
  bool stale() override;

private:
  std::shared_ptr<MemoryPipe> x_in, x_out;
  bool x_closed = false;
};

struct MemoryConnection {
  std::unique_ptr<net::Stream> stream;
  MemoryPeer peer;
};
MemoryConnection make_memory_connection(boost::asio::io_context& context);

} // namespace weir::test
