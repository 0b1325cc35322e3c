#include "proxy/session/http_own_answer.h"

#include "proxy/http/denial.h"
#include "proxy/net/stream.h"

#include <string_view>

namespace weir::session {
namespace {

void write_answer(const HttpService& service, HttpExchange& exchange) {
  exchange.response_out.clear();
  const bool denied = exchange.verdict == AccessVerdict::kDenied || exchange.cut;
  exchange.problem.clear();
  if (denied && service.config.denials == config::Denials::kExplained &&
      http::prefers_problem(exchange.facts.fields)) {
    http::write_problem(exchange.denial.denial(), exchange.problem);
  }
  http::write_own_answer(
      {.status = exchange.status,
       .denied_by = denied ? std::string_view(exchange.denial.policy) : std::string_view{},
       .problem = exchange.problem,
       .connection = exchange.client_connection(),
       .to_head = exchange.have_target && exchange.request.method == "HEAD"},
      exchange.response_out);
  exchange.bytes_out += exchange.response_out.size();
}

} // namespace

boost::asio::awaitable<bool> send_own_answer(HttpService& service, HttpStreams& streams,
                                             HttpExchange& exchange) {
  // A body that is still coming is not worth reading.
  exchange.keep_client =
      exchange.keep_client && exchange.request_body.done() && !service.drain_list.draining();
  write_answer(service, exchange);
  streams.progress();
  if (!exchange.keep_client) {
    streams.client->expect_end();
  }
  net::Gather gather{exchange.response_out};
  net::ErrorCode error;
  if (!net::write_now(*streams.client, gather, error)) {
    error = co_await net::write_rest(*streams.client, gather);
  }
  co_return !error;
}

} // namespace weir::session
