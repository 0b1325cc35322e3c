#include "proxy/session/http_record.h"

#include <cstddef>

namespace weir::session {

void HttpRecord::begin() {
  time = std::chrono::system_clock::now();
  start = std::chrono::steady_clock::now();
  status = 0;
  bytes_in = bytes_out = 0;
  denial.clear();
  edits.clear();
}

void HttpRecord::write(AccessRecord& line, const HttpJudge& judge, WorkerMetrics& metrics,
                       AccessLog& access_log, unsigned writer) const {
  if (line.verdict == AccessVerdict::kAllowed && denial.audit) {
    line.verdict = AccessVerdict::kAudit;
  }
  const auto number = static_cast<std::size_t>(status);
  auto& by_status = metrics.http_requests[static_cast<std::size_t>(line.verdict)];
  by_status[number >= 100 && number < by_status.size() ? number : 0].add();
  metrics.http_bytes_in.add(bytes_in);
  metrics.http_bytes_out.add(bytes_out);

  const HttpJudge::Labels labels = judge.labels();
  line.time = time;
  line.direction = labels.direction;
  line.protocol = "http";
  line.source = labels.source;
  line.destination = labels.destination;
  if (status != 0) {
    line.status = status;
  }
  if (line.verdict == AccessVerdict::kDenied || line.verdict == AccessVerdict::kAudit) {
    denial.describe(line);
  }
  line.header_mismatches = edits.mismatches();
  line.bytes_in = bytes_in;
  line.bytes_out = bytes_out;
  line.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  metrics.http_duration.add(static_cast<std::uint64_t>(line.duration->count()));
  if (!access_log.write(writer, line)) {
    metrics.access_log_lost.add();
  }
}

} // namespace weir::session
