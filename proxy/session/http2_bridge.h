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
#include "proxy/session/denial_note.h"
#include "proxy/session/header_edits.h"
#include "proxy/session/http_judge.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace weir::session {

class Http2Bridge;
class Http2Upstream;

// One request and its answer.
struct Http2Exchange {
  using Handle = std::list<Http2Exchange>::iterator;

  struct End : http2::StreamEnd {
    explicit End(Http2Exchange& owner) : exchange(owner) {}
    Http2Exchange& exchange;
  };

  End client{*this}, server{*this};
  Handle self; // where it is kept
  http2::RequestHead request;
  // While the server's end is, or is to be, on it, and then until the client has taken all of the
  // answer, for which the server's connection is credited only then.
  Http2Upstream* upstream = nullptr;
  bool server_done = false; // the server's end was open and is closed
  bool answered = false;    // the client was sent a final head
  bool own_answer = false;  // that one, or a reset, was weir's decision
  bool recorded = false;

  std::chrono::system_clock::time_point time;
  std::chrono::steady_clock::time_point start;
  int status = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  DenialNote denial;
  HeaderEdits edits;
};

// A connection to the server. The session moves its bytes, and says when it is there and when not.
class Http2Upstream final : private http2::ConnectionEvents {
public:
  Http2Upstream(Http2Bridge& bridge, http2::TimePoint now);

  [[nodiscard]] http2::Connection& connection() { return x_connection; }

private:
  friend class Http2Bridge;

  [[nodiscard]] bool takes_streams() const { return !x_draining && !x_lost; }

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

  // As many of the waiting as the server takes.
  void send_waiting();

  Http2Bridge& x_bridge;
  http2::Connection x_connection;
  http2::TimePoint x_since; // of the wait for the server's SETTINGS
  bool x_connected = false;
  bool x_ready = false;
  bool x_draining = false; // takes no new streams
  bool x_lost = false;
  std::size_t x_streams = 0;            // exchanges that point here
  std::size_t x_open = 0;               // streams that were opened and are not closed
  std::deque<Http2Exchange*> x_waiting; // allowed, not sent yet: not ready, or no room
};

// What the bridge needs done outside.
class Http2Host {
public:
  // Opens a connection to the server, later: upstream_connected() or upstream_lost() follows.
  virtual void dial(Http2Upstream& upstream) = 0;

protected:
  ~Http2Host() = default;
};

class Http2Bridge final : private http2::ConnectionEvents {
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

  [[nodiscard]] http2::Connection& client() { return x_client; }
  [[nodiscard]] const std::list<Http2Upstream>& upstreams() const { return x_upstreams; }
  [[nodiscard]] std::list<Http2Upstream>& upstreams() { return x_upstreams; }

  void client_bytes(std::span<const std::uint8_t> bytes, http2::TimePoint now);
  void upstream_bytes(Http2Upstream& upstream, std::span<const std::uint8_t> bytes,
                      http2::TimePoint now);
  void upstream_connected(Http2Upstream& upstream, http2::TimePoint now);
  // After produce(): a violation shows when the GOAWAY that answers it is written.
  void settle();
  // Not reached, closed, broken, or not speaking HTTP/2: its streams end. The answer for those
  // that have none yet.
  void upstream_lost(Http2Upstream& upstream, int status, std::string_view reason);
  // It was lost, or serves no stream and takes none. The session closes it, then calls erase().
  [[nodiscard]] bool disposable(const Http2Upstream& upstream) const;
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
  friend class Http2Upstream;
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

  void forward(Exchange& exchange);
  bool send(Exchange& exchange);
  [[nodiscard]] static bool waits(const Exchange& exchange);
  void detach(Exchange& exchange);
  void cancel_server(Exchange& exchange, http2::ErrorCode error);
  void drop_request_body(Exchange& exchange);
  void disown_answer(Exchange& exchange);
  void answer(Exchange& exchange, int status, AccessVerdict verdict, std::string_view reason);
  void fail(Exchange& exchange, int status, std::string_view reason);
  void reset_client(Exchange& exchange, http2::ErrorCode error, AccessVerdict verdict,
                    std::string_view reason);
  void server_closed(Exchange& exchange, http2::ErrorCode error);
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
  http2::ResponseHead x_response;     // scratch
  http2::FieldList x_trailers;        // scratch
  std::vector<http2::Field> x_fields; // scratch
};

} // namespace weir::session
