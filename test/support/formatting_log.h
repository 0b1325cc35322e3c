// An access log that formats as the real one does, and forgets.
#pragma once

#include "proxy/base/access_log.h"

#include <string>

namespace weir::test {

class FormattingLog final : public AccessLog {
public:
  bool write(unsigned /*writer*/, const AccessRecord& record) override {
    x_line.clear();
    format_access_record(record, x_line);
    return true;
  }
  void flush() override {}
  Result<void> reopen() override { return {}; }

private:
  std::string x_line;
};

} // namespace weir::test
