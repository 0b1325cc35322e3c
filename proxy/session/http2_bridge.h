// One HTTP/2 connection of a client joined to the HTTP/2 connections that weir opens for it, with
// every stream judged on its own. Bytes in, bytes out; no sockets, no coroutines, so that tests
// and fuzzers can play both peers.
//
//      client ──► x_client ──► head ──► canonical ──► judge ──┬── no ──► own answer
//                                                             │ yes
//                 Exchange: client end ◄────────────► server end
//                    │                                        │
//      client ◄── outgoing ◄── Http2Upstream ◄────────────► server
//
// HTTP/2 stays HTTP/2: nothing is sent to a server before its SETTINGS have shown that it speaks
// it, and no stream is ever turned into HTTP/1.
//
// Memory is bounded by windows: what one side sends is acknowledged to it only when it has left
// for the other side. One client has at most one upstream connection that takes new streams; a
// further one is opened when the server says GOAWAY or the connection is lost.
//
// Owned by a session, on its worker's thread.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/metrics.h"
#include "proxy/http2/connection.h"
#include "proxy/http2/limits.h"
#include "proxy/http2/message.h"
#include "proxy/session/http2_exchange.h"
#include "proxy/session/http2_upstream.h"
#include "proxy/session/http_judge.h"

#include <chrono>
#include <cstdint>
#include <list>
#include <span>
#include <string_view>

namespace weir::session {

// What the bridge needs done outside.
class Http2Host {
public:
  // Opens a connection to the server, later: its connected() or upstream_lost() follows.
  virtual void dial(Http2Upstream& upstream) = 0;

protected:
  ~Http2Host() = default;
};

class Http2Bridge final : private http2::ConnectionEvents, private Http2Downstream {
public:
  struct Options {
    http2::Limits limits;
    std::chrono::milliseconds handshake_timeout{5000}; // for a server's SETTINGS
    bool explain_denials = true;                       // to clients that ask for it
  };

  // All arguments outlive it; `writer` is the worker's number in the access log.
  Http2Bridge(const Options& options, HttpJudge& judge, Http2Host& host, WorkerMetrics& metrics,
              AccessLog& access_log, unsigned writer, http2::TimePoint now);
  ~Http2Bridge();
  Http2Bridge(const Http2Bridge&) = delete;
  Http2Bridge& operator=(const Http2Bridge&) = delete;

  [[nodiscard]] http2::Connection& client() override { return x_client; }
  [[nodiscard]] const std::list<Http2Upstream>& upstreams() const { return x_upstreams; }
  [[nodiscard]] std::list<Http2Upstream>& upstreams() { return x_upstreams; }

  void client_bytes(std::span<const std::uint8_t> bytes, http2::TimePoint now);
  void upstream_bytes(Http2Upstream& upstream, std::span<const std::uint8_t> bytes,
                      http2::TimePoint now);
  // After produce(): a violation shows when the GOAWAY that answers it is written.
  void settle();
  // Not reached, closed, broken, or not speaking HTTP/2: its streams end. The answer for those
  // that have none yet.
  void upstream_lost(Http2Upstream& upstream, int status, std::string_view reason);
  // Of one that is disposable: the session has closed it.
  void erase(Http2Upstream& upstream);

  // The client's connection is gone or given up: the server learns it of every running stream.
  void abandon();
  // Everything sent: the client's connection can be closed in order.
  [[nodiscard]] bool finished() const { return x_client.finished(); }
  // Policy has closed the whole flow, not just streams: reset the connection.
  [[nodiscard]] bool denied() const { return x_denied; }
  [[nodiscard]] bool idle() const { return x_exchanges.empty(); }

  // New streams are refused in an orderly way, running ones finish.
  void drain();
  // Policy changes, stalls, deadlines; a few times a second while streams run.
  void tick(http2::TimePoint now);

private:
  using Exchange = Http2Exchange;
  using Exchanges = std::list<Exchange>;

  http2::StreamEnd* on_open() override;
  void on_head(http2::StreamEnd& end, bool end_stream) override;
  void on_informational(http2::StreamEnd& /*end*/) override {}
  void on_body(http2::StreamEnd& end, std::span<const std::uint8_t> bytes) override;
  void on_trailers(http2::StreamEnd& end) override;
  void on_end(http2::StreamEnd& end) override;
  void on_body_sent(http2::StreamEnd& end, std::size_t bytes) override;
  void on_closed(http2::StreamEnd& end, http2::ErrorCode error) override;
  void on_goaway() override {}

  void forward(Exchange& exchange) override;
  void fail(Exchange& exchange, int status, std::string_view reason) override;
  void server_closed(Exchange& exchange, http2::ErrorCode error) override;

  void cancel_server(Exchange& exchange, http2::ErrorCode error);
  void drop_request_body(Exchange& exchange);
  void disown_answer(Exchange& exchange);
  void answer(Exchange& exchange, int status, AccessVerdict verdict, std::string_view reason);
  void reset_client(Exchange& exchange, http2::ErrorCode error, AccessVerdict verdict,
                    std::string_view reason);
  void release_if_done(Exchange& exchange);
  // Keeps who refuses the request, or audits it.
  void note(Exchange& exchange, const policy::L7Decision& decision);
  // Of what was denied the exchange knows the reason.
  void record(Exchange& exchange, AccessVerdict verdict, std::string_view reason);
  void deny_connection();
  void judge_again();
  void end_stalled(http2::TimePoint now);

  const Options& x_options;
  HttpJudge& x_judge;
  Http2Host& x_host;
  WorkerMetrics& x_metrics;
  AccessLog& x_access_log;
  const unsigned x_writer;
  http2::Connection x_client;
  std::list<Http2Upstream> x_upstreams;
  Exchanges x_exchanges, x_spare; // spare ones keep their storage for the next request
  http2::TimePoint x_now;
  http2::TimePoint x_idle_since;
  enum class Drain : std::uint8_t { kNo, kAnnounced, kShutDown } x_drain = Drain::kNo;
  http2::TimePoint x_drain_since{};
  bool x_denied = false;
  http2::FieldList x_trailers; // scratch
};

} // namespace weir::session
