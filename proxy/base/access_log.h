// One JSON object a line for each request and query (DESIGN §9). Workers hand records over; a
// thread of the log's own writes them, so that a slow disk or terminal never delays a request.
#pragma once

#include "proxy/base/access_record.h"
#include "proxy/base/result.h"

#include <cstdint>
#include <memory>
#include <string>

namespace weir {

class AccessLog {
public:
  struct Options {
    enum class Format : std::uint8_t { kJson, kEnvoy };
    Format format = Format::kJson;
    // Lines for what was denied or refused, of each writer; further ones of the same second are
    // left out and their number is told in one line of the next.
    std::uint32_t max_denials_per_second = 1000;
  };
  // Opens for append; "/dev/stdout" is the process's own. `writers`: number of workers.
  static Result<std::unique_ptr<AccessLog>> open(const std::string& path, unsigned writers,
                                                 const Options& options);
  virtual ~AccessLog() = default;

  // On the thread of worker `writer`. False when the buffer (1 MiB a worker) is full: counted by
  // the caller.
  virtual bool write(unsigned writer, const AccessRecord& record) = 0;
  // Everything handed over so far is in the file when this returns. Any thread.
  virtual void flush() = 0;
  // Opens the path anew (log rotation, SIGHUP).
  virtual Result<void> reopen() = 0;
};

} // namespace weir
