// What one HTTP/2 connection may cost. Every number bounds memory or work that a peer could
// otherwise ask for without end (RFC 9113 §10.5); the defaults leave honest clients, gRPC's
// window probing among them, far from every bound.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir::http2 {

// So many at once, and so many a second in the long run.
struct Rate {
  std::uint32_t burst;
  std::uint32_t per_second;
};

struct Limits {
  std::uint32_t max_streams = 100;     // concurrent, of the client
  std::size_t max_head = 60 * 1024;    // decoded, 32 bytes a field added (RFC 7541 §4.1); more: 431
  std::size_t max_target = 16 * 1024;  // :path; more: 414
  std::uint32_t max_fields = 100;      // more: 431
  bool keep_forwarding_claims = false; // X-Forwarded-* and Forwarded are passed on
  // Unread bytes that the peer may have under way, and so what is held for it.
  std::int32_t stream_window = 256 * 1024;
  std::int32_t connection_window = 1024 * 1024;

  std::uint32_t max_continuations = 32;   // in one header block
  std::uint32_t max_informational = 32;   // 1xx heads before a final one
  std::size_t max_outbound_frames = 1000; // queued because the peer does not read

  // Frames that cost the sender nothing.
  Rate resets{500, 100};
  Rate settings{50, 5};
  Rate pings{200, 20};          // and one for each DATA frame sent
  Rate window_updates{500, 50}; // and four for each DATA frame sent, four a stream
  Rate priorities{500, 20};     // and ten a stream
  Rate empty_data{100, 10};
  Rate ignored_frames{100, 10};
  // HEADERS beyond a stream's first; earned with each stream as many as it may honestly bring.
  Rate further_heads{200, 20};

  std::chrono::milliseconds head_timeout{10'000};   // a header block or SETTINGS that was begun
  std::chrono::milliseconds write_timeout{30'000};  // the peer takes no byte at all
  std::chrono::milliseconds stall_timeout{300'000}; // a stream's window stays shut with bytes due
  std::chrono::milliseconds idle_timeout{300'000};  // no stream open
};

} // namespace weir::http2
