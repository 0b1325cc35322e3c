// Copies bytes between two streams until both directions have ended: for flows and tunnels that
// weir does not look into. One block of memory a direction is all the buffering there is, so a
// slow reader slows the writer down; an end of one direction is passed on (half-close).
#pragma once

#include "proxy/net/stream.h"
#include "proxy/runtime/buffer_pool.h"

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <functional>
#include <string_view>

namespace weir::net {

struct RelayResult {
  std::uint64_t bytes_in = 0, bytes_out = 0; // from and to the client
  bool clean = false; // both directions ended by eof; else both streams are to be aborted
};

// The streams and the pool outlive the call. on_progress is called for each piece that was moved
// (to put a deadline off) and may be empty.
boost::asio::awaitable<RelayResult> relay(Stream& client, Stream& upstream,
                                          runtime::BufferPool& pool,
                                          std::function<void()> on_progress);

} // namespace weir::net
