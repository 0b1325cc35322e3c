#include "proxy/net/linger.h"

#include <cstddef>

namespace weir::net {
namespace {

constexpr std::size_t kLingerBytes = 256 * 1024;

} // namespace

boost::asio::awaitable<void> linger_close(Stream& stream, std::span<char> block, const bool& over) {
  stream.shutdown_write();
  IoResult read;
  for (std::size_t seen = 0; !read.error && !over && seen < kLingerBytes; seen += read.bytes) {
    read = co_await stream.read_some(block);
  }
  stream.close();
}

} // namespace weir::net
