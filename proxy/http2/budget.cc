#include "proxy/http2/budget.h"

#include <algorithm>

namespace weir::http2 {

bool TokenBucket::take(TimePoint now) {
  if (x_tokens < x_rate.burst) {
    const auto elapsed = now - x_refilled;
    const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count();
    const auto earned =
        static_cast<std::uint64_t>(std::max<std::int64_t>(whole, 0)) * x_rate.per_second / 1000;
    if (earned > 0) {
      x_tokens =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(x_rate.burst, x_tokens + earned));
      x_refilled = now;
    }
  } else {
    x_refilled = now;
  }
  if (x_tokens == 0) {
    return false;
  }
  --x_tokens;
  return true;
}

void TokenBucket::earn(std::uint32_t tokens) {
  x_tokens = std::min(x_tokens + tokens, 2 * x_rate.burst);
}

Budget::Budget(const Limits& limits, bool client)
    : x_limits(limits), x_resets(limits.resets), x_settings(limits.settings), x_pings(limits.pings),
      x_window_updates(limits.window_updates), x_priorities(limits.priorities),
      x_empty_data(limits.empty_data), x_ignored(limits.ignored_frames),
      x_further_heads(limits.further_heads), x_client(client) {}

std::optional<Http2Flood> Budget::received(const FrameHeader& frame, TimePoint now) {
  const auto charge = [now](TokenBucket& bucket, Http2Flood flood) {
    return bucket.take(now) ? std::nullopt : std::optional(flood);
  };
  switch (frame.type) {
  case FrameType::kData:
    if (frame.data_length == 0 && !frame.has(kFlagEndStream)) {
      return charge(x_empty_data, Http2Flood::kEmptyData);
    }
    return {};
  case FrameType::kHeaders:
    return head_begins(frame, now);
  case FrameType::kContinuation:
    if (++x_continuations > x_limits.max_continuations) {
      return Http2Flood::kContinuation;
    }
    return block_grows(frame);
  case FrameType::kPriority:
  case FrameType::kPriorityUpdate:
    return charge(x_priorities, Http2Flood::kPriority);
  case FrameType::kRstStream:
    return charge(x_resets, Http2Flood::kReset);
  case FrameType::kSettings:
    return charge(x_settings, Http2Flood::kSettings);
  case FrameType::kPing:
    return charge(x_pings, Http2Flood::kPing);
  case FrameType::kWindowUpdate:
    return charge(x_window_updates, Http2Flood::kWindowUpdate);
  case FrameType::kPushPromise: // refused by nghttp2 at once
    return {};
  case FrameType::kGoaway:
    break;
  }
  return charge(x_ignored, Http2Flood::kIgnoredFrame);
}

std::optional<Http2Flood> Budget::head_begins(const FrameHeader& frame, TimePoint now) {
  x_continuations = 0;
  x_block_bytes = 0;
  if (!x_client && frame.stream > x_newest_stream) {
    x_newest_stream = frame.stream;
    x_priorities.earn(10);
    x_window_updates.earn(4);
    x_further_heads.earn(1); // trailers
  } else if (!x_further_heads.take(now)) {
    return Http2Flood::kIgnoredFrame;
  }
  return block_grows(frame);
}

std::optional<Http2Flood> Budget::block_grows(const FrameHeader& frame) {
  x_block_bytes += frame.length;
  x_inside_block = !frame.has(kFlagEndHeaders);
  // Encoded, a head is hardly ever longer than decoded; padding and priority fit in the frame
  // that is allowed for on top.
  return x_block_bytes > x_limits.max_head + kMaxFrameSize ? std::optional(Http2Flood::kHeaderBlock)
                                                           : std::nullopt;
}

} // namespace weir::http2
