// One HTTP/1 connection of a client and at most one to its server: reads a request, has it
// judged, answers it or passes it on, until one side has enough.
//
//            client ──► x_in ──► parse ──► canonical ──► judge ──┬── no ──► own answer
//                                                                │
//                              x_request_out ◄── write head ◄────┘ yes
//                                    └────────────► server (opened at the first allowed request)
//            client ◄── x_response_out ◄── write head ◄── parse ◄── x_up ◄── server
//
// Bodies go from the buffer that they were read into straight to the other side. A request whose
// body is in the buffer already (or that has none) is written and then its answer read, in one
// coroutine; only a longer body makes a second one, for as long as it lasts.
//
// What was cut off is never made to look complete: both connections are reset then.
//
// Owned by the coroutine serve(), which runs in the worker's gate; on the worker's thread only.
// Knows nothing of sockets, snapshots or endpoints.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/metrics.h"
#include "proxy/config/config.h"
#include "proxy/http/body.h"
#include "proxy/http/framing.h"
#include "proxy/http/normalize.h"
#include "proxy/http/parser.h"
#include "proxy/http/serializer.h"
#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/buffer_pool.h"
#include "proxy/runtime/deadline.h"
#include "proxy/runtime/drain.h"
#include "proxy/session/denial_note.h"
#include "proxy/session/header_edits.h"
#include "proxy/session/http_judge.h"
#include "proxy/session/policy_watch.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::session {

struct HttpService;

// Takes over a connection that begins with HTTP/2's preface; `received` begins with it.
using Http2Handler = std::function<boost::asio::awaitable<void>(
    HttpService& service, std::unique_ptr<net::Stream> client, std::string received,
    std::unique_ptr<HttpJudge> judge, std::unique_ptr<net::Connector> connector)>;

// What the HTTP sessions of one worker share. Outlives them.
struct HttpService {
  HttpService(const config::Http& http, WorkerMetrics& worker_metrics, AccessLog& log,
              unsigned worker);

  const config::Http& config;
  WorkerMetrics& metrics;
  AccessLog& access_log;
  const unsigned writer; // of the access log
  runtime::Watchdog watchdog;
  runtime::BufferPool pool;
  runtime::DrainList drain_list;
  PolicyWatchers policy_watchers;
  Http2Handler http2; // without one the preface is answered 400
};

class HttpSession final : private runtime::Deadline,
                          private runtime::Drainable,
                          private PolicyWatcher {
public:
  // default_host: what a request of HTTP/1.0 without a Host field means, in canonical form.
  HttpSession(HttpService& service, std::unique_ptr<net::Stream> client,
              std::unique_ptr<HttpJudge> judge, std::unique_ptr<net::Connector> connector,
              std::string default_host);
  ~HttpSession() override;

  static boost::asio::awaitable<void> serve(std::unique_ptr<HttpSession> session);

private:
  // Bytes [begin, end) of a pooled block have been read and not yet used.
  struct Buffer {
    runtime::BufferPool::Block block;
    std::size_t begin = 0, end = 0;
    [[nodiscard]] bool empty() const { return begin == end; }
    [[nodiscard]] std::string_view view() const { return {block.get() + begin, end - begin}; }
  };

  enum class Phase : std::uint8_t { kIdle, kHead, kExchange, kClosing };
  enum class Input : std::uint8_t { kRequest, kHttp2, kRefused, kEnd, kBroken };
  enum class Action : std::uint8_t { kForward, kAnswer, kReset };
  enum class Outcome : std::uint8_t {
    kDone,     // the client has the whole answer
    kNoAnswer, // the server ended the connection without a byte of answer
    kFailed,   // x_failure says why; the client has no byte of a final answer
    kBroken,   // cut off in the middle: both sides are to be reset
    kTunnel,   // 101: from here on, bytes
  };

  // Steps of serve(), in order.
  boost::asio::awaitable<Input> read_request();
  Action decide();
  boost::asio::awaitable<bool> connect_upstream();
  // Writes what x_request_out and the first part hold; the whole request, where no more follows.
  boost::asio::awaitable<bool> send_request();
  boost::asio::awaitable<Outcome> download();
  // Both at the same time, for a request whose body is still coming.
  boost::asio::awaitable<Outcome> exchange_streaming();
  boost::asio::awaitable<void> upload();
  boost::asio::awaitable<Outcome> download_and_end_upload();
  boost::asio::awaitable<bool> send_own_answer();
  boost::asio::awaitable<void> tunnel();
  boost::asio::awaitable<void> linger_close();

  void begin_exchange();
  [[nodiscard]] policy::HttpRequest for_policy() const {
    return {x_request.method, x_target.path, x_target.host, x_facts.fields};
  }
  void deny(const policy::L7Decision& decision);
  // What the client is told of its connection's future.
  [[nodiscard]] http::ConnectionField client_connection() const;
  // Before the last bytes of an answer.
  void expect_end();
  // Before a body passes, either way.
  void expect_body(const http::Framing& framing);
  [[nodiscard]] bool is_connect() const { return x_request.method == "CONNECT"; }
  void fail(int status, std::string_view reason);
  void add_request_part(net::Gather& gather, std::string_view payload);
  [[nodiscard]] bool upstream_usable() const;
  [[nodiscard]] bool may_retry() const;
  void drop_upstream();
  void leave_upstream();
  void settle_upstream();
  void record();
  void enter(Phase phase, std::chrono::steady_clock::duration limit);
  void on_deadline() override;
  // An idle connection ends now, another after its present request.
  void on_drain() override;
  // A request under way that is no longer allowed ends, a tunnel too.
  void on_policy_change() override;

  HttpService& x_service;
  std::unique_ptr<net::Stream> x_client, x_upstream;
  std::unique_ptr<HttpJudge> x_judge;
  std::unique_ptr<net::Connector> x_connector;
  const std::string x_default_host;

  Phase x_phase = Phase::kIdle;
  bool x_timed_out = false;       // the present phase's deadline has passed
  bool x_upstream_reused = false; // has answered a request before
  bool x_keep_client = true;
  bool x_may_be_http2; // nothing but the beginning of the preface has been read so far

  Buffer x_in, x_up;
  http::RequestParser x_request_parser;
  http::ResponseParser x_response_parser;
  http::RequestHead x_request;
  http::RequestFacts x_facts;
  http::CanonicalTarget x_target;
  http::BodyReader x_request_body, x_response_body;
  http::ResponseHead x_response;
  http::ResponseFacts x_response_facts;
  std::string x_request_out, x_response_out;
  http::ChunkLine x_upload_chunk, x_download_chunk;
  std::size_t x_body_at = 0;      // in x_in: where the request's body began
  std::string_view x_first_part;  // payload that came with the request's head
  bool x_upload_ended = true;     // streaming: whole or not
  bool x_download_ended = false;  // streaming
  bool x_client_gone = false;     // streaming: in the middle of its body
  http::Refusal x_upload_refusal; // streaming: what was wrong with the body
  bool x_response_begun = false;  // a byte of the final answer is on its way to the client
  bool x_forwarding = false;      // the request was allowed and is under way
  bool x_cut = false;             // policy has changed against it since

  // The present request, for the log.
  struct {
    std::chrono::system_clock::time_point time;
    std::chrono::steady_clock::time_point start;
    AccessVerdict verdict = AccessVerdict::kError;
    int status = 0;
    std::string_view reason;
    std::uint64_t bytes_in = 0, bytes_out = 0;
    bool have_target = false; // the request was understood so far
  } x_log;
  DenialNote x_denial;
  HeaderEdits x_edits;
  std::vector<http::Header> x_edited; // the fields as they are forwarded, where edits change them
  std::string x_problem;              // scratch: the body of a denial
};

} // namespace weir::session
