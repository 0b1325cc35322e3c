#include "proxy/session/http_session.h"

#include "proxy/net/linger.h"
#include "proxy/session/http_own_answer.h"
#include "proxy/session/http_tunnel.h"

#include <boost/asio/this_coro.hpp>

#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using Input = HttpRequestReader::Input;
using Phase = HttpStreams::Phase;

HttpSession::HttpSession(HttpService& service, std::unique_ptr<net::Stream> client,
                         std::unique_ptr<HttpJudge> judge,
                         std::unique_ptr<net::Connector> connector, std::string default_host)
    : Drainable(service.drain_list), PolicyWatcher(service.policy_watchers), x_service(service),
      x_judge(std::move(judge)), x_default_host(std::move(default_host)),
      x_streams(service, std::move(client), std::move(connector)),
      x_reader(service, x_streams, x_exchange), x_forward(service, x_streams, x_exchange) {
  service.metrics.http_connections_opened.add();
}

HttpSession::~HttpSession() { x_service.metrics.http_connections_closed.add(); }

asio::awaitable<void> HttpSession::serve(std::unique_ptr<HttpSession> session) {
  co_await asio::this_coro::throw_if_cancelled(false);
  // The gate cancels once; what is awaited after that would not be cancelled any more.
  const auto cancelled = [state = co_await asio::this_coro::cancellation_state] {
    return state.cancelled() != asio::cancellation_type::none;
  };
  HttpSession& self = *session;
  HttpStreams& streams = self.x_streams;
  HttpExchange& exchange = self.x_exchange;
  bool whole = true; // nothing was cut off: both sides are closed in order
  while (exchange.keep_client && whole && !cancelled()) {
    const Input input = co_await self.x_reader.read();
    if (input == Input::kEnd || input == Input::kBroken) {
      whole = input == Input::kEnd;
      break;
    }
    if (input == Input::kHttp2) {
      co_await hand_over(std::move(session));
      co_return;
    }
    const Action action = input == Input::kRefused
                              ? Action::kAnswer
                              : decide(self.x_service, *self.x_judge, self.x_default_host,
                                       streams.from_client, exchange);
    if (action == Action::kReset) {
      exchange.record(*self.x_judge, self.x_service);
      whole = false;
      break;
    }
    Outcome outcome = Outcome::kFailed;
    if (action == Action::kForward) {
      streams.progress();
      do {
        const bool connected =
            streams.upstream.usable() || co_await streams.upstream.connect(exchange);
        outcome = connected ? co_await self.x_forward.attempt() : Outcome::kFailed;
      } while (self.x_forward.again(outcome) && !cancelled());
    }
    if (outcome == Outcome::kTunnel) {
      co_await run_tunnel(self.x_service, streams, exchange);
      exchange.record(*self.x_judge, self.x_service);
      co_return;
    }
    exchange.forwarding = false;
    if (unanswered(outcome) && exchange.cut) {
      exchange.status = 403;
    }
    if (outcome == Outcome::kDone) {
      streams.upstream.settle(exchange);
    } else if (outcome == Outcome::kBroken || exchange.client_gone || cancelled()) {
      whole = false;
    } else {
      whole = co_await send_own_answer(self.x_service, streams, exchange);
    }
    exchange.record(*self.x_judge, self.x_service);
    exchange.keep_client = exchange.keep_client && exchange.request_body.done();
  }
  if (!whole) {
    streams.abort();
    co_return;
  }
  streams.upstream.leave(exchange);
  if (exchange.request_body.done() && streams.from_client.empty() && !self.x_reader.refused()) {
    streams.client->close();
  } else if (cancelled()) {
    streams.client->abort();
  } else {
    co_await self.linger_close();
  }
}

asio::awaitable<void> HttpSession::hand_over(std::unique_ptr<HttpSession> session) {
  HttpService& service = session->x_service;
  auto client = std::move(session->x_streams.client);
  auto connector = session->x_streams.upstream.take_connector();
  auto judge = std::move(session->x_judge);
  std::string received(session->x_streams.from_client.view());
  session.reset();
  co_await service.http2(service, std::move(client), std::move(received), std::move(judge),
                         std::move(connector));
}

asio::awaitable<void> HttpSession::linger_close() {
  x_streams.enter(Phase::kClosing, net::kLingerTime);
  x_streams.from_client.restart();
  co_await net::linger_close(*x_streams.client, x_streams.from_client.room(),
                             x_streams.timed_out());
}

void HttpSession::on_drain() {
  if (x_streams.phase() == Phase::kIdle) {
    x_streams.client->cancel();
  }
}

void HttpSession::on_policy_change() {
  if (!x_exchange.forwarding || x_exchange.cut) {
    return;
  }
  if (x_judge->refresh()) {
    const policy::L7Decision decision = x_judge->judge(x_exchange.for_policy());
    if (decision.allowed) {
      return;
    }
    x_exchange.deny(decision, *x_judge);
  } else {
    x_exchange.denial.clear();
    x_exchange.denial.reason = "policy";
  }
  x_exchange.cut = true;
  x_exchange.keep_client = false;
  x_service.metrics.http_policy_resets.add();
  if (x_exchange.response_begun) {
    x_streams.client->abort();
  } else {
    x_streams.client->cancel(); // it can still be told
  }
  x_streams.upstream.abort();
}

} // namespace weir::session
