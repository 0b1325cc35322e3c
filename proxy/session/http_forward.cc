#include "proxy/session/http_forward.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>

#include <string_view>

namespace weir::session {
namespace asio = boost::asio;

namespace {

bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" ||
         method == "PUT" || method == "DELETE";
}

} // namespace

asio::awaitable<Outcome> HttpForward::attempt() {
  x_streams.progress();
  if (!x_exchange.request_body.done()) {
    return stream();
  }
  net::Gather gather = x_upload.beginning();
  net::ErrorCode error;
  if (net::write_now(x_streams.upstream.stream(), gather, error) && !error) {
    return x_download.run();
  }
  return send_rest_and_download(gather, error);
}

// A connection may have been closed by the server while the request was on its way to it.
bool HttpForward::again(Outcome outcome) {
  HttpUpstream& upstream = x_streams.upstream;
  bool again = false;
  if (outcome == Outcome::kNoAnswer) {
    again = upstream.reused() && idempotent(x_exchange.request.method) && !x_exchange.has_body() &&
            x_exchange.facts.upgrade.empty() && !x_exchange.cut;
    x_exchange.fail(502, "upstream-closed");
  }
  if (unanswered(outcome)) {
    upstream.drop();
  }
  return again;
}

asio::awaitable<Outcome> HttpForward::send_rest_and_download(net::Gather rest,
                                                             net::ErrorCode error) {
  if (!error) {
    error = co_await net::write_rest(x_streams.upstream.stream(), rest);
  }
  co_return error ? Outcome::kNoAnswer : co_await x_download.run();
}

asio::awaitable<Outcome> HttpForward::stream() {
  using namespace asio::experimental::awaitable_operators;
  x_upload.prepare();
  const Outcome outcome = co_await (x_upload.run() && download_and_end_upload());
  if (unanswered(outcome)) {
    if (x_upload.refusal()) {
      x_service.metrics.http_parse_errors.add();
      x_exchange.fail(x_upload.refusal().status, x_upload.refusal().reason);
    } else if (x_exchange.client_gone) {
      x_exchange.fail(0, "client-gone");
    }
    co_return Outcome::kFailed; // a part of the body is used up: there is no second attempt
  }
  co_return outcome == Outcome::kDone&& x_exchange.client_gone ? Outcome::kBroken : outcome;
}

asio::awaitable<Outcome> HttpForward::download_and_end_upload() {
  co_await asio::this_coro::throw_if_cancelled(false);
  const Outcome outcome = co_await x_download.run();
  x_upload.answer_has_ended();
  co_return outcome;
}

} // namespace weir::session
