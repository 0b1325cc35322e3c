#include "proxy/session/http2_bridge.h"

#include "proxy/base/check.h"

#include <algorithm>
#include <iterator>

namespace weir::session {

using http2::ErrorCode;
using http2::StreamEnd;
using http2::TimePoint;

namespace {

// Between the two GOAWAYs of an orderly end: a round trip, for what the client has under way.
constexpr std::chrono::milliseconds kDrainPause{500};
constexpr std::size_t kMaxSpare = 100;

// What an error on one side means to the other: errors of the connection's own workings are not
// the other side's.
ErrorCode passed_on(ErrorCode error) {
  switch (error) {
  case ErrorCode::kCancel:
  case ErrorCode::kRefusedStream:
  case ErrorCode::kInternalError:
  case ErrorCode::kEnhanceYourCalm:
  case ErrorCode::kInadequateSecurity:
  case ErrorCode::kHttp11Required:
    return error;
  default:
    return ErrorCode::kInternalError;
  }
}

void detach(Http2Exchange& exchange) {
  if (exchange.upstream != nullptr) {
    exchange.upstream->detach(exchange);
  }
}

} // namespace

Http2Bridge::Http2Bridge(const Options& options, HttpJudge& judge, Http2Host& host,
                         WorkerMetrics& metrics, AccessLog& access_log, unsigned writer,
                         TimePoint now)
    : x_options(options), x_judge(judge), x_host(host), x_metrics(metrics),
      x_access_log(access_log), x_writer(writer),
      x_client(http2::Connection::Role::kServer, options.limits, *this, metrics), x_now(now),
      x_idle_since(now) {
  metrics.http2_connections_opened.add();
}

Http2Bridge::~Http2Bridge() { x_metrics.http2_connections_closed.add(); }

void Http2Bridge::client_bytes(std::span<const std::uint8_t> bytes, TimePoint now) {
  x_now = now;
  x_client.feed(bytes, now);
}

void Http2Bridge::upstream_bytes(Http2Upstream& upstream, std::span<const std::uint8_t> bytes,
                                 TimePoint now) {
  x_now = now;
  if (!upstream.lost()) {
    upstream.connection().feed(bytes, now);
    settle();
  }
}

void Http2Bridge::settle() {
  for (Http2Upstream& upstream : x_upstreams) {
    if (!upstream.lost() && upstream.connection().over()) {
      upstream_lost(upstream, 502,
                    upstream.ready() ? "upstream-protocol-error" : "upstream-not-http2");
    }
  }
}

void Http2Bridge::upstream_lost(Http2Upstream& upstream, int status, std::string_view reason) {
  if (upstream.lost()) {
    return;
  }
  upstream.lose();
  for (auto at = x_exchanges.begin(); at != x_exchanges.end();) {
    Exchange& exchange = *at++; // may be released
    if (exchange.upstream != &upstream) {
      continue;
    }
    const bool whole = exchange.answered && exchange.server.peer_ended;
    exchange.server.open = false;
    detach(exchange);
    drop_request_body(exchange);
    if (!whole) {
      fail(exchange, status, reason);
    } else if (exchange.client.open && !exchange.client.peer_ended) {
      exchange.client.stop_peer_after_end = true;
    }
    release_if_done(exchange);
  }
}

void Http2Bridge::erase(Http2Upstream& upstream) {
  WEIR_CHECK(!upstream.serves());
  x_upstreams.remove_if([&](const Http2Upstream& each) { return &each == &upstream; });
}

void Http2Bridge::abandon() {
  for (auto at = x_exchanges.begin(); at != x_exchanges.end();) {
    Exchange& exchange = *at++;
    exchange.client.open = false;
    if (!exchange.recorded) {
      record(exchange, AccessVerdict::kError, "client-closed");
    }
    cancel_server(exchange, ErrorCode::kCancel);
    release_if_done(exchange);
  }
}

void Http2Bridge::drain() {
  if (x_drain == Drain::kNo) {
    x_drain = Drain::kAnnounced;
    x_drain_since = x_now;
    x_client.announce_shutdown();
  }
}

StreamEnd* Http2Bridge::on_open() {
  // Streams that the client has closed may still be finishing towards the server.
  if (x_denied || x_exchanges.size() >= std::size_t{2} * x_options.limits.max_streams) {
    return nullptr;
  }
  if (x_spare.empty()) {
    x_exchanges.emplace_back();
    x_exchanges.back().self = std::prev(x_exchanges.end());
  } else {
    x_exchanges.splice(x_exchanges.end(), x_spare, x_spare.begin());
  }
  Exchange& exchange = x_exchanges.back();
  exchange.begin();
  return &exchange.client;
}

void Http2Bridge::on_head(StreamEnd& end, bool end_stream) {
  Exchange& exchange = Exchange::of(end);
  std::swap(exchange.request.received, end.incoming);
  const http::Refusal refusal = http2::examine(exchange.request, x_options.limits);
  if (end_stream) {
    exchange.server.outgoing.end();
  }
  if (!x_judge.refresh()) {
    deny_connection();
    return;
  }
  if (refusal) {
    x_metrics.http_parse_errors.add();
    answer(exchange, refusal.status, AccessVerdict::kError, refusal.reason);
    return;
  }
  const policy::L7Decision decision = x_judge.judge(exchange.request.for_policy());
  if (!decision.allowed || decision.audit) {
    note(exchange, decision);
  }
  if (!decision.allowed) {
    answer(exchange, 403, AccessVerdict::kDenied, {});
    return;
  }
  exchange.edits.take(decision, exchange.request.fields);
  forward(exchange);
}

void Http2Bridge::forward(Exchange& exchange) {
  Http2Upstream* upstream = x_upstreams.empty() ? nullptr : &x_upstreams.back();
  const bool dial = upstream == nullptr || !upstream->takes_streams();
  if (dial) {
    Http2Downstream& downstream = *this;
    upstream = &x_upstreams.emplace_back(x_options.limits, downstream, x_metrics, x_now);
  }
  upstream->attach(exchange);
  if (dial) {
    x_host.dial(*upstream);
  } else {
    upstream->send_waiting();
  }
}

// The server is not to go on with this request; it may never have seen it.
void Http2Bridge::cancel_server(Exchange& exchange, ErrorCode error) {
  if (exchange.server.open) {
    exchange.upstream->connection().reset(exchange.server, error);
  } else {
    detach(exchange);
  }
}

void Http2Bridge::drop_request_body(Exchange& exchange) {
  x_client.consume(exchange.client, exchange.server.outgoing.size());
  exchange.server.outgoing.reset();
}

// What the server has sent of its answer, and will still send, is of no use any more.
void Http2Bridge::disown_answer(Exchange& exchange) {
  if (!exchange.own_answer) {
    exchange.own_answer = true;
    if (exchange.upstream != nullptr) {
      exchange.upstream->connection().consume(exchange.server, exchange.client.outgoing.size());
    }
  }
}

void Http2Bridge::on_body(StreamEnd& end, std::span<const std::uint8_t> bytes) {
  Exchange& exchange = Exchange::of(end);
  exchange.bytes_in += bytes.size();
  if (exchange.upstream == nullptr || exchange.server_done || exchange.server.reset_by_owner) {
    x_client.consume(end, bytes.size());
    return;
  }
  exchange.server.outgoing.append(bytes);
  exchange.upstream->connection().resume(exchange.server);
}

void Http2Bridge::on_trailers(StreamEnd& end) {
  Exchange& exchange = Exchange::of(end);
  if (!end.peer_ended || http2::filter_trailers(end.incoming, x_options.limits, x_trailers)) {
    x_metrics.http_parse_errors.add();
    reset_client(exchange, ErrorCode::kProtocolError, AccessVerdict::kError, "malformed-trailers");
    cancel_server(exchange, ErrorCode::kCancel);
    return;
  }
  if (exchange.upstream != nullptr && !exchange.server_done) {
    exchange.server.outgoing.end_with(x_trailers);
    exchange.upstream->connection().resume(exchange.server);
  }
}

void Http2Bridge::on_end(StreamEnd& end) {
  Exchange& exchange = Exchange::of(end);
  if (exchange.upstream != nullptr && !exchange.server_done) {
    exchange.server.outgoing.end();
    exchange.upstream->connection().resume(exchange.server);
  }
}

void Http2Bridge::on_body_sent(StreamEnd& end, std::size_t bytes) {
  Exchange& exchange = Exchange::of(end);
  exchange.bytes_out += bytes;
  if (exchange.upstream != nullptr && !exchange.own_answer) {
    exchange.upstream->connection().consume(exchange.server, bytes);
    if (exchange.server_done && end.outgoing.size() == 0) {
      detach(exchange);
    }
  }
}

void Http2Bridge::on_closed(StreamEnd& end, ErrorCode error) {
  Exchange& exchange = Exchange::of(end);
  const bool whole = error == ErrorCode::kNoError && end.local_ended;
  if (!exchange.recorded) {
    if (whole) {
      record(exchange, AccessVerdict::kAllowed, {});
    } else if (!end.final_head) {
      x_metrics.http_parse_errors.add();
      record(exchange, AccessVerdict::kError, "malformed-head");
    } else {
      record(exchange, AccessVerdict::kError,
             error == ErrorCode::kProtocolError ? "malformed-body" : "client-reset");
    }
  }
  // Answer bytes that nobody will read any more.
  if (exchange.upstream != nullptr && !exchange.own_answer) {
    exchange.upstream->connection().consume(exchange.server, end.outgoing.size());
  }
  end.outgoing.reset();
  // A server that has answered early still gets the whole request.
  if (!whole || !end.peer_ended) {
    cancel_server(exchange, whole ? ErrorCode::kCancel : passed_on(error));
  }
  if (!exchange.server.open && exchange.upstream == nullptr) {
    drop_request_body(exchange);
  }
  release_if_done(exchange);
}

void Http2Bridge::server_closed(Exchange& exchange, ErrorCode error) {
  exchange.server_done = true;
  drop_request_body(exchange);
  const bool whole = exchange.server.peer_ended;
  if (!whole && !exchange.answered && error == ErrorCode::kProtocolError) {
    // nghttp2 has refused the server's head, or the server weir's: no business of the client's.
    fail(exchange, 502, "upstream-protocol-error");
  } else if (!whole && !exchange.server.reset_by_owner) {
    reset_client(exchange,
                 error == ErrorCode::kNoError ? ErrorCode::kInternalError : passed_on(error),
                 AccessVerdict::kError, "upstream-reset");
  } else if (whole && exchange.client.open && !exchange.client.peer_ended && !exchange.own_answer) {
    if (exchange.client.local_ended) {
      x_client.reset(exchange.client, ErrorCode::kNoError);
    } else {
      exchange.client.stop_peer_after_end = true;
    }
  }
  if (exchange.own_answer || !exchange.client.open || exchange.client.outgoing.size() == 0) {
    detach(exchange);
  }
  release_if_done(exchange);
}

void Http2Bridge::note(Exchange& exchange, const policy::L7Decision& decision) {
  exchange.denial.take(decision, x_judge.nearest(exchange.request.for_policy()));
}

void Http2Bridge::answer(Exchange& exchange, int status, AccessVerdict verdict,
                         std::string_view reason) {
  disown_answer(exchange);
  if (!exchange.client.open || exchange.client.reset_by_owner) {
    return;
  }
  const bool denied = verdict == AccessVerdict::kDenied;
  std::string problem;
  if (denied && x_options.explain_denials && http::prefers_problem(exchange.request.fields)) {
    http::write_problem(exchange.denial.denial(), problem);
  }
  const http2::OwnAnswer own(status,
                             denied ? std::string_view(exchange.denial.policy) : std::string_view{},
                             problem, exchange.request);
  exchange.answered = true;
  exchange.status = status;
  exchange.bytes_out += own.body.size();
  record(exchange, verdict, reason);
  exchange.client.outgoing.append(
      {reinterpret_cast<const std::uint8_t*>(own.body.data()), own.body.size()});
  exchange.client.outgoing.end();
  exchange.client.stop_peer_after_end = true;
  x_client.respond(exchange.client, own.fields, own.body.empty());
}

void Http2Bridge::fail(Exchange& exchange, int status, std::string_view reason) {
  if (exchange.own_answer) {
    return;
  }
  if (exchange.answered) {
    reset_client(exchange, ErrorCode::kInternalError, AccessVerdict::kError, reason);
  } else {
    answer(exchange, status, AccessVerdict::kError, reason);
  }
}

void Http2Bridge::reset_client(Exchange& exchange, ErrorCode error, AccessVerdict verdict,
                               std::string_view reason) {
  disown_answer(exchange);
  if (exchange.client.open && !exchange.client.reset_by_owner) {
    if (!exchange.recorded) {
      record(exchange, verdict, reason);
    }
    x_client.reset(exchange.client, error);
  }
}

void Http2Bridge::release_if_done(Exchange& exchange) {
  if (exchange.client.open || exchange.upstream != nullptr) {
    return;
  }
  const Exchange::Handle at = exchange.self;
  if (x_spare.size() >= kMaxSpare) {
    x_exchanges.erase(at);
  } else {
    exchange.clear();
    x_spare.splice(x_spare.begin(), x_exchanges, at);
  }
  if (x_exchanges.empty()) {
    x_idle_since = x_now;
  }
}

void Http2Bridge::record(Exchange& exchange, AccessVerdict verdict, std::string_view reason) {
  exchange.recorded = true;
  AccessRecord line;
  line.verdict = verdict;
  line.reason = reason;
  line.method = exchange.request.method;
  line.path = exchange.request.path;
  line.host = exchange.request.host;
  exchange.write(line, x_judge, x_metrics, x_access_log, x_writer);
}

// The flow itself is denied, or is to speak another protocol now: nothing of it goes on.
void Http2Bridge::deny_connection() {
  if (x_denied) {
    return;
  }
  x_denied = true;
  for (Exchange& exchange : x_exchanges) {
    if (!exchange.own_answer) {
      exchange.denial.clear();
      const policy::L7Decision decision = x_judge.judge(exchange.request.for_policy());
      if (!decision.allowed) {
        note(exchange, decision);
      }
      exchange.denial.reason = "policy";
      record(exchange, AccessVerdict::kDenied, {});
      exchange.own_answer = true;
    }
    cancel_server(exchange, ErrorCode::kCancel);
  }
  x_client.close_now(ErrorCode::kNoError);
}

void Http2Bridge::judge_again() {
  if (!x_judge.refresh()) {
    deny_connection();
    return;
  }
  for (Exchange& exchange : x_exchanges) {
    if (exchange.own_answer || !exchange.client.final_head) {
      continue;
    }
    const policy::L7Decision decision = x_judge.judge(exchange.request.for_policy());
    if (decision.allowed) {
      continue;
    }
    note(exchange, decision);
    x_metrics.http2_policy_resets.add();
    if (exchange.answered) {
      reset_client(exchange, ErrorCode::kCancel, AccessVerdict::kDenied, {});
    } else {
      answer(exchange, 403, AccessVerdict::kDenied, {});
    }
    cancel_server(exchange, ErrorCode::kCancel);
  }
}

void Http2Bridge::end_stalled(TimePoint now) {
  const auto shut = [](const StreamEnd& end, const http2::Connection& connection) {
    return end.open && end.outgoing.size() > 0 && connection.window_shut(end);
  };
  const auto lasts = [&](StreamEnd& end, bool stalled) {
    if (!stalled) {
      end.stalled_since.reset();
      return false;
    }
    if (!end.stalled_since) {
      end.stalled_since = now;
    }
    return now - *end.stalled_since > x_options.limits.stall_timeout;
  };
  for (Exchange& exchange : x_exchanges) {
    StreamEnd& client = exchange.client;
    if (client.open && client.local_ended && client.stop_peer_after_end) {
      // It has its answer; what it has to say beyond that is waited for no longer.
      if (!client.stalled_since) {
        client.stalled_since = now;
      } else if (now - *client.stalled_since > http2::kDiscardTime) {
        x_client.reset(client, ErrorCode::kNoError);
      }
    } else if (lasts(client, shut(client, x_client))) {
      x_metrics.http2_stalls.add();
      reset_client(exchange, ErrorCode::kCancel, AccessVerdict::kError, "client-stalled");
      cancel_server(exchange, ErrorCode::kCancel);
    } else if (exchange.upstream != nullptr) {
      StreamEnd& server = exchange.server;
      // What has begun may take its time: nobody knows how long a stream of messages pauses.
      const bool unanswered = server.open && server.local_ended && !exchange.answered;
      if (lasts(server,
                unanswered || exchange.waits() || shut(server, exchange.upstream->connection()))) {
        fail(exchange, 504, unanswered ? "upstream-timeout" : "upstream-stalled");
        cancel_server(exchange, ErrorCode::kCancel);
      }
    }
  }
}

void Http2Bridge::tick(TimePoint now) {
  x_now = now;
  if (!x_client.check_deadlines(now)) {
    return;
  }
  for (Http2Upstream& upstream : x_upstreams) {
    if (upstream.silent(now, x_options.handshake_timeout)) {
      upstream_lost(upstream, 502, "upstream-not-http2");
    } else if (upstream.ready() && !upstream.lost() &&
               !upstream.connection().check_deadlines(now)) {
      upstream_lost(upstream, 504, "upstream-stalled");
    }
  }
  if (!x_exchanges.empty()) {
    judge_again();
    end_stalled(now);
  } else {
    x_spare.clear();
    if (now - x_idle_since > x_options.limits.idle_timeout) {
      drain();
    }
  }
  if (x_drain == Drain::kAnnounced && now - x_drain_since >= kDrainPause) {
    x_drain = Drain::kShutDown;
    x_client.shut_down();
  }
}

} // namespace weir::session
