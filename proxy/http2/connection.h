// One HTTP/2 connection without a socket: bytes go in by feed(), bytes to be sent come out by
// produce(), and what happens on its streams is told to a ConnectionEvents. Framing, HPACK and
// stream states are nghttp2's; counting, bounding, flow control towards the other side and the
// refusal of what nghttp2 would let pass or merely ignore are done here.
//
//   socket ─► feed() ─► FrameScanner ─► Budget ─► nghttp2 ─► events
//   socket ◄─ produce() ◄─ nghttp2 ◄─ respond(), send_request(), StreamEnd::outgoing
//
// Owned by whoever joins connections (proxy/session/http2_bridge.h), on its thread. Events are
// called from within feed() and produce(); they may call everything here but these two.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/http2/body_queue.h"
#include "proxy/http2/budget.h"
#include "proxy/http2/fields.h"
#include "proxy/http2/frame.h"
#include "proxy/http2/frame_scanner.h"
#include "proxy/http2/limits.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct nghttp2_session;

namespace weir::http2 {

inline constexpr std::size_t kDiscardAfterEnd = 64 * 1024;
inline constexpr std::chrono::seconds kDiscardTime{1};

// A stream as one connection sees it; owned by the exchange that it is an end of, which keeps it
// alive until on_closed() or until the Connection is destroyed.
struct StreamEnd {
  StreamId id = 0;
  FieldList incoming;       // the head or trailers being received
  BodyQueue outgoing;       // filled by the owner, who calls resume() after each change
  bool open = false;        // known to the connection
  bool final_head = false;  // a request, or a response other than 1xx, was received
  bool peer_ended = false;  // END_STREAM was received
  bool local_ended = false; // END_STREAM was sent
  // Once our END_STREAM is out, the peer is to stop sending (RST_STREAM with NO_ERROR, RFC 9113
  // §8.1). So much of what it has under way is thrown away first: curl 7.88 takes a reset that
  // meets the middle of its upload for an error and never shows the answer.
  bool stop_peer_after_end = false;
  std::size_t discard_left = kDiscardAfterEnd;
  bool reset_by_owner = false;
  std::uint32_t informational_heads = 0;
  // Since when something is waited for: the peer's window, or its answer; none: nothing is.
  std::optional<TimePoint> stalled_since;

  // For another stream; storage is kept.
  void clear() {
    id = 0;
    incoming.clear();
    outgoing.reset();
    open = final_head = peer_ended = local_ended = stop_peer_after_end = reset_by_owner = false;
    discard_left = kDiscardAfterEnd;
    informational_heads = 0;
    stalled_since.reset();
  }
};

class ConnectionEvents {
public:
  // Server only: a request begins. Null: refuse the stream, unprocessed.
  virtual StreamEnd* on_open() = 0;
  // Request or final response, in end.incoming. `end_stream`: no body follows.
  virtual void on_head(StreamEnd& end, bool end_stream) = 0;
  virtual void on_informational(StreamEnd& end) = 0; // client only: 1xx, in end.incoming
  virtual void on_body(StreamEnd& end, std::span<const std::uint8_t> bytes) = 0;
  // Trailers in end.incoming; the peer is done.
  virtual void on_trailers(StreamEnd& end) = 0;
  virtual void on_end(StreamEnd& end) = 0; // the body was the last thing
  // Bytes of end.outgoing are on their way.
  virtual void on_body_sent(StreamEnd& end, std::size_t bytes) = 0;
  // The stream is gone; end is no longer referred to.
  virtual void on_closed(StreamEnd& end, ErrorCode error) = 0;
  // Client only: SETTINGS of the server. The first show that it does speak HTTP/2.
  virtual void on_settings() {}
  // The peer will open (client) or take (server) no more streams.
  virtual void on_goaway() = 0;

protected:
  ~ConnectionEvents() = default;
};

class Connection {
public:
  enum class Role : std::uint8_t { kServer, kClient };

  // All arguments outlive it. The first bytes to send (SETTINGS) are there at once. The server
  // expects the client's preface in feed().
  Connection(Role role, const Limits& limits, ConnectionEvents& events, WorkerMetrics& metrics);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: the connection is over; what produce() still gives (GOAWAY) is to be sent, then close.
  bool feed(std::span<const std::uint8_t> bytes, TimePoint now);
  // Appends to out until it holds about `enough` bytes or there is nothing to say.
  void produce(std::string& out, std::size_t enough);
  [[nodiscard]] bool wants_write() const;
  // Nothing more will be read or written: close.
  [[nodiscard]] bool finished() const;
  // A violation, a flood or close_now() has ended it.
  [[nodiscard]] bool over() const { return x_over; }
  [[nodiscard]] std::optional<Http2Flood> flood() const { return x_flood; }

  // Server: the answer's head; its body comes from end.outgoing unless end_stream.
  void respond(StreamEnd& end, std::span<const Field> fields, bool end_stream);
  void send_informational(StreamEnd& end, std::span<const Field> fields);
  // Client: opens a stream. False: the connection takes none any more.
  bool send_request(StreamEnd& end, std::span<const Field> fields, bool end_stream);
  // Client: as many streams the server takes at once.
  [[nodiscard]] std::uint32_t max_streams_of_peer() const;
  // end.outgoing has changed.
  void resume(StreamEnd& end);
  void reset(StreamEnd& end, ErrorCode error);
  // The other side has taken bytes given to on_body(); the peer may send as many more. Also after
  // the stream was closed.
  void consume(const StreamEnd& end, std::size_t bytes);

  // First step of an orderly end: the peer is told that no more streams are welcome, and what it
  // sends in the meantime is still served. Second step: GOAWAY with the last stream served.
  void announce_shutdown();
  void shut_down();
  // GOAWAY with the error; nothing more is read.
  void close_now(ErrorCode error);

  // Deadlines that only the connection can see; call it a few times a second at most.
  // False: it is over, as from feed().
  bool check_deadlines(TimePoint now);
  // The peer's window for the stream or for the connection is shut.
  [[nodiscard]] bool window_shut(const StreamEnd& end) const;

private:
  struct Callbacks; // nghttp2's
  struct Delete {
    void operator()(nghttp2_session* session) const;
  };

  void headers_received(StreamEnd& end, bool last);
  void flooded(Http2Flood flood);
  void violated();
  void count_violation();
  bool settle(std::int64_t result);
  std::span<const Field> trailers_of(const StreamEnd& end);

  const Role x_role;
  const Limits& x_limits;
  ConnectionEvents& x_events;
  WorkerMetrics& x_metrics;
  FrameScanner x_scanner;
  Budget x_budget;
  std::unique_ptr<nghttp2_session, Delete> x_session;
  TimePoint x_now{};
  std::optional<TimePoint> x_unfinished_since; // a frame or header block that was begun
  std::size_t x_block_decoded = 0;
  bool x_settings_received = false;
  bool x_over = false;
  std::optional<Http2Flood> x_flood;
  std::string* x_out = nullptr; // during produce()
  std::size_t x_enough = 0;
  std::vector<Field> x_fields; // scratch
};

} // namespace weir::http2
