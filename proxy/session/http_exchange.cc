#include "proxy/session/http_exchange.h"

#include "proxy/session/http_service.h"

namespace weir::session {

void HttpExchange::begin() {
  HttpRecord::begin();
  have_target = false;
  request_body.start({});
  first_part = {};
  response_begun = false;
  keep_client = false;
  client_gone = false;
  forwarding = cut = false;
  verdict = AccessVerdict::kError;
  reason = {};
}

void HttpExchange::fail(int with_status, std::string_view why) {
  verdict = AccessVerdict::kError;
  status = with_status;
  reason = why;
}

void HttpExchange::deny(const policy::L7Decision& decision, const HttpJudge& judge) {
  denial.take(decision, judge.nearest(for_policy()));
}

// HTTP/1.1 keeps connections unless told otherwise, HTTP/1.0 closes them (RFC 9112 §9.3).
http::ConnectionField HttpExchange::client_connection() const {
  return !keep_client             ? http::ConnectionField::kClose
         : client_speaks_http11() ? http::ConnectionField::kNone
                                  : http::ConnectionField::kKeepAlive;
}

void HttpExchange::record(const HttpJudge& judge, HttpService& service) const {
  AccessRecord line;
  line.verdict = cut ? AccessVerdict::kDenied : verdict;
  line.reason = reason;
  if (have_target) {
    line.method = request.method;
    line.path = target.path;
    line.host = target.host;
  }
  write(line, judge, service.metrics, service.access_log, service.writer);
}

} // namespace weir::session
