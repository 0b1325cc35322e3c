#include "proxy/net/relay.h"

#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>

namespace weir::net {
namespace asio = boost::asio;

namespace {

asio::awaitable<bool> copy(Stream& from, Stream& to, runtime::BufferPool& pool,
                           const std::function<void()>& on_progress, std::uint64_t& bytes) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const runtime::BufferPool::Block block = pool.acquire();
  ErrorCode error;
  while (!error) {
    const IoResult read = co_await from.read_some({block.get(), pool.block_size()});
    if (read.error == asio::error::eof) {
      to.shutdown_write();
      co_return true;
    }
    error = read.error;
    if (error) {
      break;
    }
    Gather gather{std::string_view(block.get(), read.bytes)};
    if (!write_now(to, gather, error)) {
      error = co_await write_rest(to, gather);
    }
    bytes += read.bytes;
    if (on_progress) {
      on_progress();
    }
  }
  // The other direction has nobody to answer to any more.
  from.cancel();
  to.cancel();
  co_return false;
}

} // namespace

asio::awaitable<RelayResult> relay(Stream& client, Stream& upstream, runtime::BufferPool& pool,
                                   std::function<void()> on_progress) {
  using namespace asio::experimental::awaitable_operators;
  RelayResult result;
  const auto [in, out] = co_await (copy(client, upstream, pool, on_progress, result.bytes_in) &&
                                   copy(upstream, client, pool, on_progress, result.bytes_out));
  result.clean = in && out;
  co_return result;
}

} // namespace weir::net
