// Both sides of an HTTP/1 session, and the time that its present phase may take: whatever takes
// longer is cancelled on both.
#pragma once

#include "proxy/http/message.h"
#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/deadline.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_upstream.h"
#include "proxy/session/read_buffer.h"

#include <chrono>
#include <cstdint>
#include <memory>

namespace weir::session {

class HttpStreams final : private runtime::Deadline {
public:
  enum class Phase : std::uint8_t {
    kIdle,     // between requests
    kHead,     // of a request, begun
    kExchange, // until its answer is out; each progress gives it the time anew
    kClosing,
  };

  HttpStreams(HttpService& service, std::unique_ptr<net::Stream> client_stream,
              std::unique_ptr<net::Connector> connector);

  void enter(Phase phase, std::chrono::steady_clock::duration limit);
  // Bytes of an exchange have moved.
  void progress() { enter(Phase::kExchange, x_service.config.idle_timeout); }
  [[nodiscard]] Phase phase() const { return x_phase; }
  // The present phase's time is over. Lives as long as the streams.
  [[nodiscard]] const bool& timed_out() const { return x_timed_out; }

  // Before a body passes from one side to the other, either way.
  void expect_body(const http::Framing& framing);
  // The peers learn that something was cut off.
  void abort();

  std::unique_ptr<net::Stream> client;
  ReadBuffer from_client;
  HttpUpstream upstream;

private:
  void on_deadline() override;

  const HttpService& x_service;
  Phase x_phase = Phase::kIdle;
  bool x_timed_out = false;
};

} // namespace weir::session
