#include "proxy/session/http_session.h"

#include "proxy/http/ascii.h"
#include "proxy/http2/frame.h"
#include "proxy/net/linger.h"
#include "proxy/net/relay.h"
#include "proxy/session/connect_failure.h"

#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

// Beside a head, a block has room for this much of a body: a read worth its system call.
constexpr std::size_t kBodyRoom = 48 * 1024;
// A head begins no later than here in its block, or is moved to the front first.
constexpr std::size_t kMaxHeadOffset = 16 * 1024;
// 100, 102 and 103 before an answer; a server that sends more is not making sense.
constexpr unsigned kMaxInterim = 16;

std::size_t block_size(const config::Http& config) {
  constexpr std::size_t kPage = 4096;
  return (config.max_head + kMaxHeadOffset + kBodyRoom + kPage - 1) / kPage * kPage;
}

http::HeadLimits limits(const config::Http& config) {
  return {config.max_head, config.max_target, config.max_headers};
}

bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" ||
         method == "PUT" || method == "DELETE";
}

bool same_token(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return http::lower(x) == http::lower(y); });
}

// The next part of a body, as the framing wants it: at most five pieces.
void add_body_part(net::Gather& gather, http::Framing::Kind kind, http::ChunkLine& line,
                   std::string_view payload, bool last, std::string_view trailers) {
  if (kind != http::Framing::Kind::kChunked) {
    gather.add(payload);
    return;
  }
  if (!payload.empty()) {
    gather.add(line.format(payload.size()));
    gather.add(payload);
    if (!last) {
      gather.add(http::kChunkEnd);
      return;
    }
    gather.add(trailers.empty() ? http::kChunkEndAndLastChunk : http::kChunkEndAndLastChunkLine);
  } else if (last) {
    gather.add(trailers.empty() ? http::kLastChunk : http::kLastChunkLine);
  }
  if (last && !trailers.empty()) {
    gather.add(trailers);
    gather.add(http::kEmptyLine);
  }
}

} // namespace

HttpService::HttpService(const config::Http& http, WorkerMetrics& worker_metrics, AccessLog& log,
                         unsigned worker)
    : config(http), metrics(worker_metrics), access_log(log), writer(worker),
      pool(block_size(http)) {}

HttpSession::HttpSession(HttpService& service, std::unique_ptr<net::Stream> client,
                         std::unique_ptr<HttpJudge> judge,
                         std::unique_ptr<net::Connector> connector, std::string default_host)
    : Deadline(service.watchdog), Drainable(service.drain_list),
      PolicyWatcher(service.policy_watchers), x_service(service), x_client(std::move(client)),
      x_judge(std::move(judge)), x_connector(std::move(connector)),
      x_default_host(std::move(default_host)), x_may_be_http2(service.http2 != nullptr),
      x_request_parser(limits(service.config)), x_response_parser(limits(service.config)) {
  service.metrics.http_connections_opened.add();
}

HttpSession::~HttpSession() { x_service.metrics.http_connections_closed.add(); }

void HttpSession::on_drain() {
  if (x_phase == Phase::kIdle) {
    x_client->cancel();
  }
}

void HttpSession::on_policy_change() {
  if (!x_forwarding || x_cut) {
    return;
  }
  if (x_judge->refresh()) {
    const policy::L7Decision decision = x_judge->judge(for_policy());
    if (decision.allowed) {
      return;
    }
    deny(decision);
  } else {
    x_denial.clear();
    x_denial.reason = "policy";
  }
  x_cut = true;
  x_keep_client = false;
  x_service.metrics.http_policy_resets.add();
  if (x_response_begun) {
    x_client->abort();
  } else {
    x_client->cancel(); // it can still be told
  }
  if (x_upstream) {
    x_upstream->abort();
  }
}

void HttpSession::enter(Phase phase, std::chrono::steady_clock::duration limit) {
  x_phase = phase;
  x_timed_out = false;
  expire_after(limit);
}

void HttpSession::on_deadline() {
  x_timed_out = true;
  x_client->cancel();
  if (x_upstream) {
    x_upstream->cancel();
  }
}

asio::awaitable<void> HttpSession::serve(std::unique_ptr<HttpSession> session) {
  co_await asio::this_coro::throw_if_cancelled(false);
  HttpSession& self = *session;
  // The gate cancels once; what is awaited after that would not be cancelled any more.
  const auto cancelled = [state = co_await asio::this_coro::cancellation_state] {
    return state.cancelled() != asio::cancellation_type::none;
  };
  bool whole = true; // nothing was cut off: both sides are closed in order
  while (self.x_keep_client && whole && !cancelled()) {
    const Input input = co_await self.read_request();
    if (input == Input::kEnd || input == Input::kBroken) {
      whole = input == Input::kEnd;
      break;
    }
    if (input == Input::kHttp2) {
      HttpService& service = self.x_service;
      auto client = std::move(self.x_client);
      auto judge = std::move(self.x_judge);
      auto connector = std::move(self.x_connector);
      std::string received(self.x_in.view());
      session.reset();
      co_await service.http2(service, std::move(client), std::move(received), std::move(judge),
                             std::move(connector));
      co_return;
    }
    const Action action = input == Input::kRefused ? Action::kAnswer : self.decide();
    if (action == Action::kReset) {
      self.record();
      whole = false;
      break;
    }
    Outcome outcome = Outcome::kFailed;
    if (action == Action::kForward) {
      self.enter(Phase::kExchange, self.x_service.config.idle_timeout);
      for (bool again = true; again;) {
        again = false;
        if (!self.upstream_usable() && !co_await self.connect_upstream()) {
          outcome = Outcome::kFailed;
        } else if (!self.x_request_body.done()) {
          outcome = co_await self.exchange_streaming();
        } else {
          outcome = co_await self.send_request() ? co_await self.download() : Outcome::kNoAnswer;
        }
        if (outcome == Outcome::kNoAnswer) {
          again = self.may_retry() && !cancelled() && !self.x_cut;
          self.fail(502, "upstream-closed");
          self.drop_upstream();
        }
      }
    }
    switch (outcome) {
    case Outcome::kDone:
      self.settle_upstream();
      break;
    case Outcome::kNoAnswer:
    case Outcome::kFailed:
      if (action == Action::kForward) {
        self.drop_upstream();
      }
      self.x_forwarding = false;
      if (self.x_cut) {
        self.x_log.status = 403;
      }
      if (self.x_client_gone || cancelled()) {
        whole = false;
      } else {
        whole = co_await self.send_own_answer();
      }
      break;
    case Outcome::kBroken:
      whole = false;
      break;
    case Outcome::kTunnel:
      co_await self.tunnel();
      self.record();
      co_return;
    }
    self.x_forwarding = false;
    self.record();
    self.x_keep_client = self.x_keep_client && self.x_request_body.done();
  }
  if (!whole) {
    self.x_client->abort();
    if (self.x_upstream) {
      self.x_upstream->abort();
    }
    co_return;
  }
  if (self.x_upstream) {
    self.leave_upstream();
  }
  if (self.x_request_body.done() && self.x_in.empty() && !self.x_request_parser.refusal()) {
    self.x_client->close();
  } else if (cancelled()) {
    self.x_client->abort();
  } else {
    co_await self.linger_close();
  }
}

asio::awaitable<HttpSession::Input> HttpSession::read_request() {
  if (!x_in.block) {
    x_in.block = x_service.pool.acquire();
  }
  if (x_in.empty()) {
    x_in.begin = x_in.end = 0;
    if (x_service.drain_list.draining()) {
      co_return Input::kEnd;
    }
    enter(Phase::kIdle, x_service.config.idle_timeout);
  } else {
    if (x_in.begin > kMaxHeadOffset) {
      std::memmove(x_in.block.get(), x_in.block.get() + x_in.begin, x_in.end - x_in.begin);
      x_in.end -= std::exchange(x_in.begin, 0);
    }
    enter(Phase::kHead, x_service.config.head_timeout);
  }
  x_request_parser.reset();
  for (;;) {
    if (x_may_be_http2 && !x_in.empty()) {
      const std::string_view begun = x_in.view().substr(0, http2::kPreface.size());
      x_may_be_http2 = http2::kPreface.starts_with(begun);
      if (x_may_be_http2 && begun.size() == http2::kPreface.size()) {
        co_return Input::kHttp2;
      }
    }
    if (!x_in.empty() && !x_may_be_http2) {
      const http::ParseStatus status = x_request_parser.parse(x_in.view(), x_request);
      if (status == http::ParseStatus::kRefused) {
        begin_exchange();
        fail(x_request_parser.refusal().status, x_request_parser.refusal().reason);
        co_return Input::kRefused;
      }
      if (status == http::ParseStatus::kDone) {
        begin_exchange();
        x_in.begin += x_request_parser.head_size();
        x_body_at = x_in.begin;
        x_log.bytes_in = x_request_parser.head_size();
        co_return Input::kRequest;
      }
    }
    const net::IoResult read = co_await x_client->read_some(
        {x_in.block.get() + x_in.end, x_service.pool.block_size() - x_in.end});
    if (read.error) {
      if (x_phase == Phase::kHead && x_timed_out) {
        begin_exchange();
        fail(408, "head-timeout");
        co_return Input::kRefused;
      }
      // Between requests every end is a good one: the client's, the idle time's, weir's own.
      const bool reset =
          read.error != asio::error::eof && read.error != asio::error::operation_aborted;
      co_return x_phase == Phase::kIdle && !reset ? Input::kEnd : Input::kBroken;
    }
    x_in.end += read.bytes;
    if (x_phase == Phase::kIdle) {
      enter(Phase::kHead, x_service.config.head_timeout);
    }
  }
}

void HttpSession::begin_exchange() {
  x_log = {};
  x_log.time = std::chrono::system_clock::now();
  x_log.start = std::chrono::steady_clock::now();
  x_keep_client = false;
  x_request_body.start({});
  x_first_part = {};
  x_upload_ended = true;
  x_download_ended = false;
  x_client_gone = false;
  x_upload_refusal = {};
  x_response_begun = false;
  x_forwarding = x_cut = false;
  x_denial.clear();
  x_edits.clear();
}

void HttpSession::fail(int status, std::string_view reason) {
  x_log.verdict = AccessVerdict::kError;
  x_log.status = status;
  x_log.reason = reason;
}

void HttpSession::deny(const policy::L7Decision& decision) {
  x_denial.take(decision, x_judge->nearest(for_policy()));
}

// HTTP/1.1 keeps connections unless told otherwise, HTTP/1.0 closes them (RFC 9112 §9.3).
http::ConnectionField HttpSession::client_connection() const {
  return !x_keep_client                                ? http::ConnectionField::kClose
         : x_request.version == http::Version::kHttp11 ? http::ConnectionField::kNone
                                                       : http::ConnectionField::kKeepAlive;
}

void HttpSession::expect_end() {
  if (!x_keep_client) {
    x_client->expect_end();
  }
}

void HttpSession::expect_body(const http::Framing& framing) {
  if (framing.kind == http::Framing::Kind::kLength) {
    x_client->expect_bytes(framing.length);
    x_upstream->expect_bytes(framing.length);
  }
}

HttpSession::Action HttpSession::decide() {
  const bool open = x_judge->refresh();
  http::Refusal refusal = http::examine(
      x_request, x_facts, x_service.config.forwarded_fields == config::ForwardedFields::kKeep);
  if (!refusal) {
    refusal = http::canonical_target(x_request, x_default_host, x_target,
                                     x_service.config.connect == config::Connect::kJudge);
    x_log.have_target = !refusal;
    if (!refusal && is_connect()) {
      // What follows a CONNECT belongs to the tunnel (RFC 9110 §9.3.6).
      if (x_facts.body.kind != http::Framing::Kind::kNone) {
        refusal = {400, "connect-with-body"};
      }
      x_facts.upgrade = {};
    }
  }
  if (!open) {
    x_log.verdict = AccessVerdict::kDenied;
    if (!refusal) {
      const policy::L7Decision decision = x_judge->judge(for_policy());
      if (!decision.allowed) {
        deny(decision);
      }
    }
    x_denial.reason = "policy";
    return Action::kReset;
  }
  if (!refusal) {
    x_request_body.start(x_facts.body);
    const auto taken = x_request_body.take(x_in.block.get() + x_in.begin, x_in.end - x_in.begin);
    x_in.begin += taken.consumed;
    x_log.bytes_in += taken.consumed;
    x_first_part = taken.payload;
    if (x_request_body.failed()) {
      refusal = {400, "malformed-body"};
    }
  }
  if (refusal) {
    x_service.metrics.http_parse_errors.add();
    fail(refusal.status, refusal.reason);
    return Action::kAnswer;
  }
  x_keep_client = x_facts.keep_alive && !x_service.drain_list.draining();
  const policy::L7Decision decision = x_judge->judge(for_policy());
  if (!decision.allowed || decision.audit) {
    deny(decision);
  }
  if (!decision.allowed) {
    x_log.verdict = AccessVerdict::kDenied;
    x_log.status = 403;
    return Action::kAnswer;
  }
  x_log.verdict = AccessVerdict::kAllowed;
  x_forwarding = true;
  x_edits.take(decision, x_facts.fields);
  x_edited.clear();
  if (!x_edits.empty()) {
    x_edited = x_facts.fields;
    x_edits.apply(x_edited);
  }
  x_request_out.clear();
  http::write_request_head(x_request, x_target, x_facts,
                           x_edits.empty() ? x_facts.fields : x_edited, x_request_out);
  return Action::kForward;
}

// A connection that the server has closed meanwhile is given up, and one on which it has spoken
// unasked all the more: what it said would be taken for the answer to this request.
bool HttpSession::upstream_usable() const {
  return x_upstream && (!x_upstream_reused || !x_upstream->stale());
}

bool HttpSession::may_retry() const {
  return x_upstream_reused && idempotent(x_request.method) &&
         x_facts.body.kind == http::Framing::Kind::kNone && x_facts.upgrade.empty();
}

void HttpSession::drop_upstream() {
  if (x_upstream) {
    x_upstream->abort();
    x_upstream.reset();
  }
  x_upstream_reused = false;
  x_up = {};
}

// Of a connection that is at rest. An orderly end would leave its port of the pod's address in
// TIME_WAIT, of which there are some 28,000 to one server: with a connection a request they are
// used up in seconds. A server that has answered a request without a body has read all of it, so
// nothing is lost by a reset.
void HttpSession::leave_upstream() {
  if (x_facts.body.kind == http::Framing::Kind::kNone) {
    x_upstream->abort();
  } else {
    x_upstream->close();
  }
}

// After a complete answer: is the connection fit for another request?
void HttpSession::settle_upstream() {
  if (!x_up.empty()) {
    // An answer to nothing. What would come next could not be trusted to be the next answer.
    x_service.metrics.upstream_protocol_errors.add();
    drop_upstream();
    return;
  }
  if (!x_request_body.done()) {
    drop_upstream();
    return;
  }
  x_up = {};
  x_upstream_reused = true;
  if (!x_response_facts.keep_alive) {
    leave_upstream();
    x_upstream.reset();
    x_upstream_reused = false;
  }
}

asio::awaitable<bool> HttpSession::connect_upstream() {
  drop_upstream();
  net::Connector::Connected connected = co_await x_connector->connect();
  if (x_cut) {
    co_return false;
  }
  if (connected.error) {
    x_service.metrics.upstream_connect_failures.add();
    const ConnectFailure failure = connect_failure(connected.error);
    fail(failure.status, failure.reason);
    co_return false;
  }
  x_service.metrics.upstream_connections_opened.add();
  x_upstream = std::move(connected.stream);
  enter(Phase::kExchange, x_service.config.idle_timeout);
  co_return true;
}

void HttpSession::add_request_part(net::Gather& gather, std::string_view payload) {
  // A request's trailers are not passed on (body.h).
  add_body_part(gather, x_facts.body.kind, x_upload_chunk, payload, x_request_body.done(), {});
}

asio::awaitable<bool> HttpSession::send_request() {
  net::Gather gather{x_request_out};
  if (x_facts.body.kind != http::Framing::Kind::kNone) {
    expect_body(x_facts.body);
    add_request_part(gather, x_first_part);
  }
  net::ErrorCode error;
  if (!net::write_now(*x_upstream, gather, error)) {
    error = co_await net::write_rest(*x_upstream, gather);
  }
  co_return !error;
}

asio::awaitable<HttpSession::Outcome> HttpSession::download() {
  const auto idle_timeout = x_service.config.idle_timeout;
  const auto size = x_service.pool.block_size();
  if (!x_up.block) {
    x_up.block = x_service.pool.acquire();
  }
  char* const block = x_up.block.get();
  const bool client11 = x_request.version == http::Version::kHttp11;
  net::ErrorCode error;

  bool any_byte = false;
  for (unsigned interim = 0;;) {
    x_response_parser.reset();
    http::Refusal refusal;
    for (;;) {
      if (!x_up.empty()) {
        any_byte = true;
        const http::ParseStatus status = x_response_parser.parse(x_up.view(), x_response);
        if (status == http::ParseStatus::kRefused) {
          refusal = x_response_parser.refusal();
          break;
        }
        if (status == http::ParseStatus::kDone) {
          x_up.begin += x_response_parser.head_size();
          refusal = http::examine(x_response, x_request.method == "HEAD", x_response_facts);
          break;
        }
      }
      if (x_up.begin > kMaxHeadOffset) {
        std::memmove(block, block + x_up.begin, x_up.end - x_up.begin);
        x_up.end -= std::exchange(x_up.begin, 0);
      }
      const net::IoResult read =
          co_await x_upstream->read_some({block + x_up.end, size - x_up.end});
      if (read.error) {
        if (x_timed_out) {
          fail(504, "upstream-timeout");
          co_return Outcome::kFailed;
        }
        fail(502, "upstream-closed");
        const bool ended = read.error == asio::error::eof ||
                           read.error == asio::error::connection_reset ||
                           read.error == asio::error::broken_pipe;
        co_return !any_byte && ended ? Outcome::kNoAnswer : Outcome::kFailed;
      }
      x_up.end += read.bytes;
      enter(Phase::kExchange, idle_timeout);
    }
    if (!refusal && x_response.status < 200 && x_response.status != 101 &&
        ++interim > kMaxInterim) {
      refusal = {502, "too-many-interim-answers"};
    }
    if (!refusal && x_response.status == 101 &&
        (x_facts.upgrade.empty() || !same_token(x_facts.upgrade, x_response_facts.upgrade))) {
      refusal = {502, "upgrade-not-asked-for"};
    }
    if (refusal) {
      x_service.metrics.upstream_protocol_errors.add();
      x_keep_client = false;
      fail(502, refusal.reason);
      co_return Outcome::kFailed;
    }
    const bool connected = is_connect() && x_response.status >= 200 && x_response.status < 300;
    const bool tunnel = x_response.status == 101 || connected;
    if (x_response.status >= 200 && !tunnel) {
      break;
    }
    if (!client11 && !tunnel) {
      continue; // knows no interim answers (RFC 9110 §15.2)
    }
    x_response_out.clear();
    http::write_response_head(x_response, x_response_facts, {},
                              x_response.status == 101 ? http::ConnectionField::kUpgrade
                                                       : http::ConnectionField::kNone,
                              x_response_out);
    net::Gather gather{x_response_out};
    x_log.bytes_out += x_response_out.size();
    if (tunnel) {
      gather.add(x_up.view());
      x_log.bytes_out += x_up.end - x_up.begin;
      x_up.begin = x_up.end;
      x_log.status = x_response.status;
      x_response_begun = true;
    }
    if (!net::write_now(*x_client, gather, error)) {
      error = co_await net::write_rest(*x_client, gather);
    }
    if (error) {
      co_return Outcome::kBroken;
    }
    if (tunnel) {
      co_return Outcome::kTunnel;
    }
  }

  http::Framing framing = x_response_facts.body;
  if (framing.kind == http::Framing::Kind::kChunked && !client11) {
    framing = {http::Framing::Kind::kUntilClose, 0, false};
  }
  x_keep_client = x_keep_client && framing.kind != http::Framing::Kind::kUntilClose &&
                  !x_service.drain_list.draining();
  x_log.status = x_response.status;
  // A first attempt on a connection that was gone has left its mark here.
  x_log.verdict = AccessVerdict::kAllowed;
  x_log.reason = {};
  x_response_out.clear();
  http::write_response_head(x_response, x_response_facts, framing, client_connection(),
                            x_response_out);
  x_response_body.start(x_response_facts.body);
  expect_body(x_response_facts.body);
  net::Gather gather{x_response_out};
  x_log.bytes_out += x_response_out.size();
  for (;;) {
    const auto taken = x_response_body.take(block + x_up.begin, x_up.end - x_up.begin);
    x_up.begin += taken.consumed;
    if (x_response_body.failed()) {
      x_service.metrics.upstream_protocol_errors.add();
      x_log.reason = "malformed-body";
      if (!x_response_begun) {
        x_keep_client = false;
        fail(502, "malformed-body");
        co_return Outcome::kFailed;
      }
      x_log.verdict = AccessVerdict::kError;
      co_return Outcome::kBroken;
    }
    x_log.bytes_out += taken.payload.size();
    if (framing.kind != http::Framing::Kind::kNone) {
      add_body_part(gather, framing.kind, x_download_chunk, taken.payload, x_response_body.done(),
                    x_response_body.trailers());
    }
    if (!gather.empty()) {
      x_response_begun = true;
      if (x_response_body.done()) {
        expect_end();
      }
      if (!net::write_now(*x_client, gather, error)) {
        error = co_await net::write_rest(*x_client, gather);
      }
      if (error) {
        x_log.verdict = AccessVerdict::kError;
        x_log.reason = "client-gone";
        co_return Outcome::kBroken;
      }
    }
    if (x_response_body.done()) {
      co_return Outcome::kDone;
    }
    gather = {};
    x_up.begin = x_up.end = 0;
    enter(Phase::kExchange, idle_timeout);
    const net::IoResult read = co_await x_upstream->read_some({block, size});
    if (read.error) {
      if (read.error == asio::error::eof && x_response_body.whole_at_end()) {
        co_return Outcome::kDone;
      }
      x_log.verdict = AccessVerdict::kError;
      x_log.reason = x_timed_out ? "timeout" : "upstream-closed";
      co_return Outcome::kBroken;
    }
    x_up.end = read.bytes;
  }
}

asio::awaitable<HttpSession::Outcome> HttpSession::exchange_streaming() {
  using namespace asio::experimental::awaitable_operators;
  x_upload_ended = x_download_ended = false;
  Outcome outcome = co_await (upload() && download_and_end_upload());
  if (outcome == Outcome::kNoAnswer || outcome == Outcome::kFailed) {
    outcome = Outcome::kFailed;
    if (x_upload_refusal) {
      x_service.metrics.http_parse_errors.add();
      fail(x_upload_refusal.status, x_upload_refusal.reason);
    } else if (x_client_gone) {
      fail(0, "client-gone");
    }
  } else if (outcome == Outcome::kDone && x_client_gone) {
    outcome = Outcome::kBroken;
  }
  co_return outcome;
}

asio::awaitable<void> HttpSession::upload() {
  co_await asio::this_coro::throw_if_cancelled(false);
  bool upstream_takes = co_await send_request();
  while (upstream_takes && !x_request_body.done() && !x_download_ended) {
    x_in.begin = x_in.end = x_body_at;
    const net::IoResult read = co_await x_client->read_some(
        {x_in.block.get() + x_body_at, x_service.pool.block_size() - x_body_at});
    if (x_download_ended) {
      x_in.end += read.bytes;
      break;
    }
    if (read.error) {
      // Half a request must not look like a whole one to the server.
      if (x_timed_out) {
        x_upload_refusal = {408, "body-timeout"};
      } else if (!x_cut) {
        x_client_gone = true;
      }
      x_upstream->abort();
      break;
    }
    enter(Phase::kExchange, x_service.config.idle_timeout);
    x_in.end += read.bytes;
    const auto taken = x_request_body.take(x_in.block.get() + x_in.begin, read.bytes);
    x_in.begin += taken.consumed;
    x_log.bytes_in += taken.consumed;
    if (x_request_body.failed()) {
      x_upload_refusal = {400, "malformed-body"};
      x_upstream->abort();
      break;
    }
    net::Gather gather;
    add_request_part(gather, taken.payload);
    net::ErrorCode error;
    if (!net::write_now(*x_upstream, gather, error)) {
      error = co_await net::write_rest(*x_upstream, gather);
    }
    // A server that stops reading may have answered already; download() finds out.
    upstream_takes = !error;
  }
  x_upload_ended = true;
}

asio::awaitable<HttpSession::Outcome> HttpSession::download_and_end_upload() {
  co_await asio::this_coro::throw_if_cancelled(false);
  const Outcome outcome = co_await download();
  x_download_ended = true;
  if (!x_upload_ended) {
    x_client->cancel();
    x_upstream->cancel();
  }
  co_return outcome;
}

asio::awaitable<bool> HttpSession::send_own_answer() {
  // A body that is still coming is not worth reading.
  x_keep_client = x_keep_client && x_request_body.done() && !x_service.drain_list.draining();
  x_response_out.clear();
  const bool denied = x_log.verdict == AccessVerdict::kDenied || x_cut;
  x_problem.clear();
  if (denied && x_service.config.denials == config::Denials::kExplained &&
      http::prefers_problem(x_facts.fields)) {
    http::write_problem(x_denial.denial(), x_problem);
  }
  http::write_own_answer(
      {.status = x_log.status,
       .denied_by = denied ? std::string_view(x_denial.policy) : std::string_view{},
       .problem = x_problem,
       .connection = client_connection(),
       .to_head = x_log.have_target && x_request.method == "HEAD"},
      x_response_out);
  x_log.bytes_out += x_response_out.size();
  enter(Phase::kExchange, x_service.config.idle_timeout);
  expect_end();
  net::Gather gather{x_response_out};
  net::ErrorCode error;
  if (!net::write_now(*x_client, gather, error)) {
    error = co_await net::write_rest(*x_client, gather);
  }
  co_return !error;
}

asio::awaitable<void> HttpSession::tunnel() {
  net::Gather early{x_in.view()}; // sent by the client before it knew
  x_log.bytes_in += x_in.end - x_in.begin;
  net::ErrorCode error;
  if (!net::write_now(*x_upstream, early, error)) {
    error = co_await net::write_rest(*x_upstream, early);
  }
  bool clean = !error;
  if (clean) {
    const auto limit = x_service.config.idle_timeout;
    enter(Phase::kExchange, limit);
    const net::RelayResult result = co_await net::relay(*x_client, *x_upstream, x_service.pool,
                                                        [this, limit] { expire_after(limit); });
    x_log.bytes_in += result.bytes_in;
    x_log.bytes_out += result.bytes_out;
    clean = result.clean;
  }
  if (clean) {
    x_client->close();
    x_upstream->close();
  } else {
    x_client->abort();
    x_upstream->abort();
  }
}

asio::awaitable<void> HttpSession::linger_close() {
  enter(Phase::kClosing, net::kLingerTime);
  co_await net::linger_close(*x_client, {x_in.block.get(), x_service.pool.block_size()},
                             x_timed_out);
}

void HttpSession::record() {
  WorkerMetrics& metrics = x_service.metrics;
  if (x_cut) {
    x_log.verdict = AccessVerdict::kDenied;
  } else if (x_log.verdict == AccessVerdict::kAllowed && x_denial.audit) {
    x_log.verdict = AccessVerdict::kAudit;
  }
  if (x_request_parser.refusal()) {
    metrics.http_parse_errors.add();
  }
  const auto status = static_cast<std::size_t>(x_log.status);
  auto& by_status = metrics.http_requests[static_cast<std::size_t>(x_log.verdict)];
  by_status[status >= 100 && status < by_status.size() ? status : 0].add();
  metrics.http_bytes_in.add(x_log.bytes_in);
  metrics.http_bytes_out.add(x_log.bytes_out);

  const HttpJudge::Labels labels = x_judge->labels();
  AccessRecord record;
  record.time = x_log.time;
  record.verdict = x_log.verdict;
  record.direction = labels.direction;
  record.protocol = "http";
  record.source = labels.source;
  record.destination = labels.destination;
  if (x_log.have_target) {
    record.method = x_request.method;
    record.path = x_target.path;
    record.host = x_target.host;
  }
  if (x_log.status != 0) {
    record.status = x_log.status;
  }
  record.reason = x_log.reason;
  if (x_log.verdict == AccessVerdict::kDenied || x_log.verdict == AccessVerdict::kAudit) {
    x_denial.describe(record);
  }
  record.header_mismatches = x_edits.mismatches();
  record.bytes_in = x_log.bytes_in;
  record.bytes_out = x_log.bytes_out;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - x_log.start);
  metrics.http_duration.add(static_cast<std::uint64_t>(record.duration->count()));
  if (!x_service.access_log.write(x_service.writer, record)) {
    metrics.access_log_lost.add();
  }
}

} // namespace weir::session
