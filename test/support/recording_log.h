// An access log that keeps its records in memory. On the thread of the one worker that writes.
#pragma once

#include "proxy/base/access_log.h"

#include <string>
#include <vector>

namespace weir::test {

class RecordingLog final : public AccessLog {
public:
  struct Line {
    AccessVerdict verdict;
    int status;
    std::string protocol, method, path, host, denied_by, reason, header_mismatches;
    std::uint64_t bytes_in, bytes_out;
  };

  bool write(unsigned /*writer*/, const AccessRecord& record) override {
    lines.push_back({record.verdict, record.status.value_or(0), std::string(record.protocol),
                     std::string(record.method), std::string(record.path), std::string(record.host),
                     std::string(record.denied_by), std::string(record.reason),
                     std::string(record.header_mismatches), record.bytes_in.value_or(0),
                     record.bytes_out.value_or(0)});
    return true;
  }
  void flush() override {}
  Result<void> reopen() override { return {}; }

  std::vector<Line> lines;
};

} // namespace weir::test
