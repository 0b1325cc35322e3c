#include "proxy/session/http2_session.h"

#include "proxy/net/linger.h"
#include "proxy/session/connect_failure.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

// Written at once: four full frames.
constexpr std::size_t kEnough = 64 * 1024;
constexpr std::chrono::milliseconds kBusyTick{250};
constexpr std::chrono::milliseconds kIdleTick{1000};

std::span<const std::uint8_t> bytes_of(const char* data, std::size_t size) {
  return {reinterpret_cast<const std::uint8_t*>(data), size};
}

} // namespace

Http2Bridge::Options http2_options(const config::Http& http, const config::Http2& http2) {
  Http2Bridge::Options options;
  options.limits.max_head = http.max_head;
  options.limits.max_target = http.max_target;
  options.limits.max_fields = http.max_headers;
  options.limits.keep_forwarding_claims = http.forwarded_fields == config::ForwardedFields::kKeep;
  options.limits.head_timeout = http.head_timeout;
  options.limits.idle_timeout = http.idle_timeout;
  options.limits.stall_timeout = http.idle_timeout;
  options.handshake_timeout = http.connect_timeout;
  options.explain_denials = http.denials == config::Denials::kExplained;
  options.limits.max_streams = http2.max_streams;
  options.limits.stream_window = static_cast<std::int32_t>(http2.stream_window);
  options.limits.connection_window = static_cast<std::int32_t>(http2.connection_window);
  options.limits.write_timeout = http2.write_timeout;
  return options;
}

Http2Session::Http2Session(HttpService& service, const Http2Bridge::Options& options,
                           asio::io_context& context, std::unique_ptr<net::Stream> client,
                           std::string received, std::unique_ptr<HttpJudge> judge,
                           std::unique_ptr<net::Connector> connector)
    : Deadline(service.watchdog), Drainable(service.drain_list), x_service(service),
      x_judge(std::move(judge)), x_connector(std::move(connector)), x_context(context),
      x_received(std::move(received)),
      x_bridge(options, *x_judge, *this, service.metrics, service.access_log, service.writer,
               service.watchdog.now()),
      x_options(options), x_client(context, x_bridge.client()),
      x_client_event(context, std::chrono::steady_clock::time_point::max()),
      x_children_gone(context, std::chrono::steady_clock::time_point::max()), x_gate(context) {
  x_client.stream = std::move(client);
  x_connector->will_speak(net::Connector::Application::kHttp2);
}

Http2Session::~Http2Session() = default;

asio::awaitable<void> Http2Session::serve(std::unique_ptr<Http2Session> session) {
  co_await asio::this_coro::throw_if_cancelled(false);
  Http2Session& self = *session;
  if (self.x_service.drain_list.draining()) {
    self.x_bridge.drain();
  }
  self.expire_after(kBusyTick);
  self.x_gate.spawn(write_blocked(self, self.x_client));
  co_await self.read_client();

  // From here on nothing is to be cut short by the gate, which has only its one cancellation.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  self.x_ended = true;
  const bool orderly = self.client_done() && !self.x_bridge.denied();
  const bool left_quietly = self.x_client_left && self.x_bridge.idle();
  self.x_bridge.abandon();
  for (UpstreamPipe& pipe : self.x_upstreams) {
    self.close_upstream(pipe);
  }
  if (orderly) {
    self.expire_after(net::kLingerTime);
    const runtime::BufferPool::Block block = self.x_service.pool.acquire();
    co_await net::linger_close(*self.x_client.stream,
                               {block.get(), self.x_service.pool.block_size()}, self.x_lingered);
  } else if (left_quietly) {
    self.x_client.stream->close();
  } else {
    self.x_client.stream->abort();
  }
  self.never();
  bool gone = false;
  self.x_gate.close();
  self.x_gate.on_empty([&self, &gone] {
    gone = true;
    self.x_children_gone.cancel();
  });
  if (!gone) {
    co_await self.x_children_gone.async_wait(asio::as_tuple(asio::deferred));
  }
}

asio::awaitable<void> Http2Session::read_client() {
  const runtime::BufferPool::Block block = x_service.pool.acquire();
  x_bridge.client_bytes(bytes_of(x_received.data(), x_received.size()), x_service.watchdog.now());
  const auto cancelled = [state = co_await asio::this_coro::cancellation_state] {
    return state.cancelled() != asio::cancellation_type::none;
  };
  for (;;) {
    pump();
    if (x_client.broken || client_done() || cancelled()) {
      co_return;
    }
    if (x_bridge.client().over()) {
      // Nothing that it sends matters any more; what it is owed has to get out yet.
      co_await x_client_event.async_wait(asio::as_tuple(asio::deferred));
      continue;
    }
    const net::IoResult read =
        co_await x_client.stream->read_some({block.get(), x_service.pool.block_size()});
    if (read.error == asio::error::operation_aborted) {
      continue;
    }
    if (read.error) {
      // HTTP/2 knows no half-closed connection: whoever does not listen does not ask either.
      x_client_left = read.error == asio::error::eof;
      x_client.broken = true;
      co_return;
    }
    x_bridge.client_bytes(bytes_of(block.get(), read.bytes), x_service.watchdog.now());
  }
}

bool Http2Session::client_done() const {
  return !x_client.broken && x_bridge.finished() && x_client.sent == x_client.out.size();
}

void Http2Session::dial(Http2Upstream& upstream) {
  UpstreamPipe& pipe = x_upstreams.emplace_back(x_context, upstream);
  x_gate.spawn(run_upstream(*this, pipe));
}

// Session and pipe outlive x_gate.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
asio::awaitable<void> Http2Session::run_upstream(Http2Session& session, UpstreamPipe& pipe) {
  co_await asio::this_coro::throw_if_cancelled(false);
  WorkerMetrics& metrics = session.x_service.metrics;
  pipe.reading = true;
  net::Connector::Connected connected = co_await session.x_connector->connect();
  if (connected.error || pipe.closed) {
    pipe.reading = false;
    if (connected.error) {
      metrics.upstream_connect_failures.add();
    }
    if (!pipe.closed) {
      const ConnectFailure failure = connect_failure(connected.error);
      session.x_bridge.upstream_lost(pipe.upstream, failure.status, failure.reason);
    }
    session.pump();
    co_return;
  }
  metrics.upstream_connections_opened.add();
  pipe.stream = std::move(connected.stream);
  pipe.upstream.connected(session.x_service.watchdog.now());
  session.x_gate.spawn(write_blocked(session, pipe));
  pipe.writing = true;
  session.pump();
  {
    const runtime::BufferPool::Block block = session.x_service.pool.acquire();
    while (!pipe.closed) {
      const net::IoResult read =
          co_await pipe.stream->read_some({block.get(), session.x_service.pool.block_size()});
      if (pipe.closed) {
        break;
      }
      if (read.error) {
        session.x_bridge.upstream_lost(pipe.upstream, 502, "upstream-closed");
      } else {
        session.x_bridge.upstream_bytes(pipe.upstream, bytes_of(block.get(), read.bytes),
                                        session.x_service.watchdog.now());
      }
      session.pump();
    }
  }
  pipe.reading = false;
  session.pump();
}

// Waits for the connection's socket to take bytes again, whenever it is full.
// Session and pipe outlive x_gate.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
asio::awaitable<void> Http2Session::write_blocked(Http2Session& session, Pipe& pipe) {
  co_await asio::this_coro::throw_if_cancelled(false);
  pipe.writing = true;
  const auto cancelled = [state = co_await asio::this_coro::cancellation_state] {
    return state.cancelled() != asio::cancellation_type::none;
  };
  while (!cancelled() && !pipe.broken) {
    if (!pipe.full) {
      co_await pipe.blocked.async_wait(asio::as_tuple(asio::deferred));
      continue;
    }
    const net::ErrorCode error = co_await pipe.stream->wait_writable();
    if (error) {
      pipe.broken = true;
      break;
    }
    pipe.full = false;
    session.pump();
  }
  pipe.writing = false;
  session.pump();
}

bool Http2Session::flush(Pipe& pipe) {
  bool wrote = false;
  while (pipe.stream && !pipe.full && !pipe.broken) {
    if (pipe.sent == pipe.out.size()) {
      pipe.out.clear();
      pipe.sent = 0;
      pipe.connection.produce(pipe.out, kEnough);
      if (pipe.out.empty()) {
        break;
      }
    }
    const iovec part{pipe.out.data() + pipe.sent, pipe.out.size() - pipe.sent};
    const net::IoResult result = pipe.stream->try_write({&part, 1});
    if (result.error) {
      pipe.broken = true;
    } else if (result.bytes == 0) {
      pipe.full = true;
      pipe.full_since = x_service.watchdog.now();
    }
    pipe.sent += result.bytes;
    wrote = wrote || result.bytes > 0;
  }
  if (pipe.full || pipe.broken) {
    pipe.blocked.cancel();
  }
  return wrote;
}

void Http2Session::pump() {
  if (x_pumping) {
    x_again = true;
    return;
  }
  x_pumping = true;
  do {
    x_again = false;
    bool wrote = !x_ended && flush(x_client);
    for (UpstreamPipe& pipe : x_upstreams) {
      if (!pipe.closed && !pipe.upstream.disposable()) {
        wrote = flush(pipe) || wrote;
        if (pipe.broken) {
          x_bridge.upstream_lost(pipe.upstream, 502, "upstream-closed");
          wrote = true;
        }
      }
    }
    x_bridge.settle();
    x_again = x_again || wrote;
    sweep_upstreams();
  } while (x_again);
  x_pumping = false;
  if (!x_ended && (x_client.broken || x_bridge.client().over() || client_done())) {
    x_client.stream->cancel();
    x_client_event.cancel();
  }
}

void Http2Session::close_upstream(UpstreamPipe& pipe) {
  if (pipe.closed) {
    return;
  }
  if (pipe.stream) {
    if (!pipe.broken && !pipe.upstream.disposable()) {
      // The resets of the streams that were running.
      flush(pipe);
    }
    pipe.closed = true;
    pipe.broken = true;
    pipe.blocked.cancel();
    if (pipe.full || pipe.sent < pipe.out.size()) {
      pipe.stream->abort();
    } else {
      pipe.stream->close();
    }
  }
  pipe.closed = true;
}

void Http2Session::sweep_upstreams() {
  for (auto at = x_upstreams.begin(); at != x_upstreams.end();) {
    UpstreamPipe& pipe = *at;
    if (!pipe.closed && pipe.upstream.disposable()) {
      close_upstream(pipe);
    }
    if (pipe.closed && !pipe.reading && !pipe.writing && pipe.upstream.disposable()) {
      x_bridge.erase(pipe.upstream);
      at = x_upstreams.erase(at);
    } else {
      ++at;
    }
  }
}

void Http2Session::on_deadline() {
  if (x_ended) {
    x_lingered = true; // long enough
    x_client.stream->cancel();
    return;
  }
  const auto now = x_service.watchdog.now();
  x_bridge.tick(now);
  if (x_client.full && now - x_client.full_since > x_options.limits.write_timeout) {
    x_service.metrics.http2_stalls.add();
    x_client.broken = true;
  }
  for (UpstreamPipe& pipe : x_upstreams) {
    if (pipe.full && now - pipe.full_since > x_options.limits.write_timeout) {
      pipe.broken = true;
    }
  }
  expire_after(x_bridge.idle() ? kIdleTick : kBusyTick);
  pump();
}

void Http2Session::on_drain() {
  x_bridge.drain();
  pump();
}

asio::awaitable<void> serve_http2(const Http2Bridge::Options& options, asio::io_context& context,
                                  HttpService& service, std::unique_ptr<net::Stream> client,
                                  std::string received, std::unique_ptr<HttpJudge> judge,
                                  std::unique_ptr<net::Connector> connector) {
  return Http2Session::serve(
      std::make_unique<Http2Session>(service, options, context, std::move(client),
                                     std::move(received), std::move(judge), std::move(connector)));
}

} // namespace weir::session
