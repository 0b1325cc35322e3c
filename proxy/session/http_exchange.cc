#include "proxy/session/http_exchange.h"

#include "proxy/session/http_service.h"

namespace weir::session {

void HttpExchange::begin() {
  have_target = false;
  request_body.start({});
  first_part = {};
  edits.clear();
  response_begun = false;
  keep_client = false;
  client_gone = false;
  forwarding = cut = false;
  time = std::chrono::system_clock::now();
  start = std::chrono::steady_clock::now();
  verdict = AccessVerdict::kError;
  status = 0;
  reason = {};
  bytes_in = bytes_out = 0;
  denial.clear();
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

void HttpExchange::record(const HttpJudge& judge, HttpService& service) {
  WorkerMetrics& metrics = service.metrics;
  if (cut) {
    verdict = AccessVerdict::kDenied;
  } else if (verdict == AccessVerdict::kAllowed && denial.audit) {
    verdict = AccessVerdict::kAudit;
  }
  const auto number = static_cast<std::size_t>(status);
  auto& by_status = metrics.http_requests[static_cast<std::size_t>(verdict)];
  by_status[number >= 100 && number < by_status.size() ? number : 0].add();
  metrics.http_bytes_in.add(bytes_in);
  metrics.http_bytes_out.add(bytes_out);

  const HttpJudge::Labels labels = judge.labels();
  AccessRecord record;
  record.time = time;
  record.verdict = verdict;
  record.direction = labels.direction;
  record.protocol = "http";
  record.source = labels.source;
  record.destination = labels.destination;
  if (have_target) {
    record.method = request.method;
    record.path = target.path;
    record.host = target.host;
  }
  if (status != 0) {
    record.status = status;
  }
  record.reason = reason;
  if (verdict == AccessVerdict::kDenied || verdict == AccessVerdict::kAudit) {
    denial.describe(record);
  }
  record.header_mismatches = edits.mismatches();
  record.bytes_in = bytes_in;
  record.bytes_out = bytes_out;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  metrics.http_duration.add(static_cast<std::uint64_t>(record.duration->count()));
  if (!service.access_log.write(service.writer, record)) {
    metrics.access_log_lost.add();
  }
}

} // namespace weir::session
