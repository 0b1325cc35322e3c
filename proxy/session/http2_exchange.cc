#include "proxy/session/http2_exchange.h"

namespace weir::session {

void Http2Exchange::clear() {
  client.clear();
  server.clear();
  request.clear();
  upstream = nullptr;
  answered = own_answer = recorded = server_done = false;
  status = 0;
  bytes_in = bytes_out = 0;
  denial.clear();
  edits.clear();
}

void Http2Exchange::describe(AccessRecord& record) const {
  record.time = time;
  record.protocol = "http";
  record.method = request.method;
  record.path = request.path;
  record.host = request.host;
  if (status != 0) {
    record.status = status;
  }
  if (record.verdict == AccessVerdict::kDenied || record.verdict == AccessVerdict::kAudit) {
    denial.describe(record);
  }
  record.header_mismatches = edits.mismatches();
  record.bytes_in = bytes_in;
  record.bytes_out = bytes_out;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
}

} // namespace weir::session
