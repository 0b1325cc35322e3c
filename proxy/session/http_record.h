// What a request of HTTP/1 or HTTP/2 is counted by when it is over, and what its line of the access
// log says of how it went.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/metrics.h"
#include "proxy/session/denial_note.h"
#include "proxy/session/header_edits.h"
#include "proxy/session/http_judge.h"

#include <chrono>
#include <cstdint>

namespace weir::session {

struct HttpRecord {
  // The time is now; nothing else is known of the next request.
  void begin();
  // Counts the request and writes its line. `line` says the verdict, the reason and what was asked
  // for, and is given the rest; what was allowed and only an audited policy refuses becomes AUDIT.
  void write(AccessRecord& line, const HttpJudge& judge, WorkerMetrics& metrics,
             AccessLog& access_log, unsigned writer) const;

  std::chrono::system_clock::time_point time;
  std::chrono::steady_clock::time_point start;
  int status = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  DenialNote denial;
  HeaderEdits edits;
};

} // namespace weir::session
