// Counts a connection's cheap frames against its limits. Knows frame headers only; what is over a
// limit is for the Connection to answer (GOAWAY with ENHANCE_YOUR_CALM).
//
// Owned by a Connection. Time is an argument, so that tests need not wait.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/http2/frame.h"
#include "proxy/http2/limits.h"

#include <chrono>
#include <cstdint>
#include <optional>

namespace weir::http2 {

using TimePoint = std::chrono::steady_clock::time_point;

// Tokens: refilled with time up to the burst; earned ones may go beyond it, up to twice.
class TokenBucket {
public:
  explicit TokenBucket(Rate rate) : x_rate(rate), x_tokens(rate.burst) {}

  // False: over the limit.
  bool take(TimePoint now);
  void earn(std::uint32_t tokens);

private:
  Rate x_rate;
  std::uint32_t x_tokens;
  TimePoint x_refilled{};
};

class Budget {
public:
  Budget(const Limits& limits, bool client);

  // A frame begins. Its limit, if it is one too many.
  std::optional<Http2Flood> received(const FrameHeader& frame, TimePoint now);
  // nghttp2 reset a stream because of what the peer sent: a peer that makes weir reset streams
  // gets no further than one that resets them itself.
  bool provoked_reset(TimePoint now) { return x_resets.take(now); }

  void data_sent() {
    x_pings.earn(1);
    x_window_updates.earn(4);
  }
  // In the client's role a reset is the server's answer to something that weir sent.
  void request_sent() {
    x_resets.earn(1);
    x_window_updates.earn(4);
    x_further_heads.earn(x_limits.max_informational + 2);
  }

  // Between a header block's first and last frame.
  [[nodiscard]] bool inside_block() const { return x_inside_block; }

private:
  std::optional<Http2Flood> head_begins(const FrameHeader& frame, TimePoint now);
  std::optional<Http2Flood> block_grows(const FrameHeader& frame);

  const Limits& x_limits;
  TokenBucket x_resets, x_settings, x_pings, x_window_updates, x_priorities, x_empty_data,
      x_ignored, x_further_heads;
  const bool x_client;
  std::uint32_t x_newest_stream = 0;
  bool x_inside_block = false;
  std::uint32_t x_continuations = 0;
  std::size_t x_block_bytes = 0;
};

} // namespace weir::http2
