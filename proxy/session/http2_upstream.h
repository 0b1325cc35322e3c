// A connection to the server on which exchanges of one client run: sends what is allowed as soon as
// the server takes it, and passes the answers on. The session moves its bytes.
//
// Owned by an Http2Bridge, on its worker's thread.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/http2/connection.h"
#include "proxy/http2/limits.h"
#include "proxy/http2/message.h"
#include "proxy/session/http2_exchange.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>
#include <vector>

namespace weir::session {

// The client's side, as a connection to the server sees it.
class Http2Downstream {
public:
  [[nodiscard]] virtual http2::Connection& client() = 0; // takes the answers
  // The server has not seen it and will not: it is to be asked on another connection.
  virtual void forward(Http2Exchange& exchange) = 0;
  // The server has not answered, or not to the end.
  virtual void fail(Http2Exchange& exchange, int status, std::string_view reason) = 0;
  // Its stream at the server is gone. The exchange may be, when this returns.
  virtual void server_closed(Http2Exchange& exchange, http2::ErrorCode error) = 0;

protected:
  ~Http2Downstream() = default;
};

class Http2Upstream final : private http2::ConnectionEvents {
public:
  // All arguments outlive it.
  Http2Upstream(const http2::Limits& limits, Http2Downstream& downstream, WorkerMetrics& metrics,
                http2::TimePoint now);

  [[nodiscard]] http2::Connection& connection() { return x_connection; }

  void connected(http2::TimePoint now);
  // Its exchanges have to be ended by the caller; waiting ones are not sent any more.
  void lose();
  [[nodiscard]] bool lost() const { return x_lost; }
  // The server's SETTINGS were seen: it speaks HTTP/2.
  [[nodiscard]] bool ready() const { return x_ready; }
  // Connected for longer than `limit`, and not ready.
  [[nodiscard]] bool silent(http2::TimePoint now, std::chrono::milliseconds limit) const;
  [[nodiscard]] bool takes_streams() const { return !x_draining && !x_lost; }
  [[nodiscard]] bool serves() const { return x_streams > 0; }
  // It was lost, or serves no exchange and takes none.
  [[nodiscard]] bool disposable() const { return x_lost || (x_draining && !serves()); }

  // It is to be sent here, with the next send_waiting().
  void attach(Http2Exchange& exchange);
  // The exchange has nothing more to do with this connection.
  void detach(Http2Exchange& exchange);
  // As many of the waiting as the server takes.
  void send_waiting();

private:
  http2::StreamEnd* on_open() override { return nullptr; }
  void on_head(http2::StreamEnd& end, bool end_stream) override;
  void on_informational(http2::StreamEnd& end) override;
  void on_body(http2::StreamEnd& end, std::span<const std::uint8_t> bytes) override;
  void on_trailers(http2::StreamEnd& end) override;
  void on_end(http2::StreamEnd& end) override;
  void on_body_sent(http2::StreamEnd& end, std::size_t bytes) override;
  void on_closed(http2::StreamEnd& end, http2::ErrorCode error) override;
  void on_settings() override;
  void on_goaway() override;

  bool send(Http2Exchange& exchange);
  void refuse(http2::StreamEnd& end, std::string_view reason);

  const http2::Limits& x_limits;
  Http2Downstream& x_downstream;
  WorkerMetrics& x_metrics;
  http2::Connection x_connection;
  http2::TimePoint x_since; // of the wait for the server's SETTINGS
  bool x_connected = false;
  bool x_ready = false;
  bool x_draining = false; // takes no new streams
  bool x_lost = false;
  std::size_t x_streams = 0;            // exchanges that point here
  std::size_t x_open = 0;               // streams that were opened and are not closed
  std::deque<Http2Exchange*> x_waiting; // allowed, not sent yet: not ready, or no room
  http2::ResponseHead x_response;       // scratch
  http2::FieldList x_trailers;          // scratch
  std::vector<http2::Field> x_fields;   // scratch
};

} // namespace weir::session
