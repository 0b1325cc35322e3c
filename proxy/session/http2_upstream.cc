#include "proxy/session/http2_upstream.h"

#include <utility>

namespace weir::session {

using http2::ErrorCode;
using http2::StreamEnd;
using http2::TimePoint;

Http2Upstream::Http2Upstream(const http2::Limits& limits, Http2Downstream& downstream,
                             WorkerMetrics& metrics, TimePoint now)
    : x_limits(limits), x_downstream(downstream), x_metrics(metrics),
      x_connection(http2::Connection::Role::kClient, limits, *this, metrics), x_since(now) {}

void Http2Upstream::connected(TimePoint now) {
  x_connected = true;
  x_since = now;
}

void Http2Upstream::lose() {
  x_lost = true;
  x_waiting.clear();
}

bool Http2Upstream::silent(TimePoint now, std::chrono::milliseconds limit) const {
  return x_connected && !x_ready && now - x_since > limit;
}

void Http2Upstream::attach(Http2Exchange& exchange) {
  exchange.upstream = this;
  ++x_streams;
  x_waiting.push_back(&exchange);
}

void Http2Upstream::detach(Http2Exchange& exchange) {
  if (exchange.waits()) {
    std::erase(x_waiting, &exchange);
  }
  --x_streams;
  exchange.upstream = nullptr;
}

void Http2Upstream::send_waiting() {
  while (x_ready && !x_waiting.empty() && x_open < x_connection.max_streams_of_peer()) {
    if (!send(*x_waiting.front())) {
      on_goaway();
      return;
    }
    x_waiting.pop_front();
  }
}

bool Http2Upstream::send(Http2Exchange& exchange) {
  x_fields.clear();
  http2::write_fields(exchange.request, x_fields);
  exchange.edits.apply(x_fields);
  const http2::BodyQueue& body = exchange.server.outgoing;
  const bool empty = body.ended() && body.size() == 0 && body.trailers().size() == 0;
  if (!x_connection.send_request(exchange.server, x_fields, empty)) {
    return false;
  }
  ++x_open;
  return true;
}

void Http2Upstream::on_settings() {
  x_ready = true;
  send_waiting();
}

void Http2Upstream::on_goaway() {
  x_draining = true;
  // What the server has not seen may be asked of it anew.
  std::deque<Http2Exchange*> waiting;
  waiting.swap(x_waiting);
  for (Http2Exchange* exchange : waiting) {
    detach(*exchange);
    x_downstream.forward(*exchange);
  }
}

void Http2Upstream::refuse(StreamEnd& end, std::string_view reason) {
  x_metrics.upstream_protocol_errors.add();
  x_connection.reset(end, ErrorCode::kProtocolError);
  x_downstream.fail(Http2Exchange::of(end), 502, reason);
}

void Http2Upstream::on_informational(StreamEnd& end) {
  Http2Exchange& exchange = Http2Exchange::of(end);
  if (end.peer_ended || end.informational_heads > x_limits.max_informational ||
      http2::examine(end.incoming, x_response)) {
    refuse(end, "upstream-malformed-head");
  } else if (!exchange.answered) {
    end.stalled_since.reset();
    x_downstream.client().send_informational(exchange.client, x_response.fields);
  }
}

void Http2Upstream::on_head(StreamEnd& end, bool end_stream) {
  Http2Exchange& exchange = Http2Exchange::of(end);
  if (exchange.own_answer) {
    return;
  }
  if (http2::examine(end.incoming, x_response) || x_response.status < 200) {
    refuse(end, "upstream-malformed-head");
    return;
  }
  exchange.answered = true;
  exchange.status = x_response.status;
  if (end_stream) {
    exchange.client.outgoing.end();
  }
  x_downstream.client().respond(exchange.client, x_response.fields, end_stream);
}

void Http2Upstream::on_body(StreamEnd& end, std::span<const std::uint8_t> bytes) {
  Http2Exchange& exchange = Http2Exchange::of(end);
  if (!exchange.client.open || exchange.own_answer) {
    x_connection.consume(end, bytes.size());
    return;
  }
  exchange.client.outgoing.append(bytes);
  x_downstream.client().resume(exchange.client);
}

void Http2Upstream::on_trailers(StreamEnd& end) {
  Http2Exchange& exchange = Http2Exchange::of(end);
  if (!end.peer_ended || http2::filter_trailers(end.incoming, x_limits, x_trailers)) {
    refuse(end, "upstream-malformed-trailers");
    return;
  }
  if (!exchange.own_answer) {
    exchange.client.outgoing.end_with(x_trailers);
    x_downstream.client().resume(exchange.client);
  }
}

void Http2Upstream::on_end(StreamEnd& end) {
  Http2Exchange& exchange = Http2Exchange::of(end);
  if (!exchange.own_answer) {
    exchange.client.outgoing.end();
    x_downstream.client().resume(exchange.client);
  }
}

void Http2Upstream::on_body_sent(StreamEnd& end, std::size_t bytes) {
  x_downstream.client().consume(Http2Exchange::of(end).client, bytes);
}

void Http2Upstream::on_closed(StreamEnd& end, ErrorCode error) {
  --x_open;
  x_downstream.server_closed(Http2Exchange::of(end), error);
  send_waiting();
}

} // namespace weir::session
