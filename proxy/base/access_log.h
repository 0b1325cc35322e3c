// One JSON object a line for each request and query (DESIGN §9). Workers hand records over; a
// thread of the log's own writes them, so that a slow disk or terminal never delays a request.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"
#include "proxy/base/result.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

// Views live only for the call. Empty or absent: the key is left out.
struct AccessRecord {
  struct Peer {
    std::string_view peer_namespace, pod; // empty: no pod
    IpAddress ip;
    std::uint16_t port = 0; // source: left out of the line
  };

  std::chrono::system_clock::time_point time;
  AccessVerdict verdict = AccessVerdict::kError;
  std::string_view direction; // "ingress" | "egress"
  std::string_view protocol;  // "http" | "dns" | "tls" | "tcp"
  Peer source, destination;
  std::string_view method, path, host;
  std::string_view query_name, query_type; // DNS
  std::optional<int> status;               // HTTP status, or DNS RCODE
  std::string_view denied_by;              // "namespace/policy" or "default-deny"
  std::string_view denying_rule;           // "ingress rule 2"
  std::string_view nearest;                // what came nearest to allowing it, in words
  std::string_view reason;                 // "method", "path", "upstream-refused", …
  std::string_view header_mismatches;      // names of fields that a rule with `mismatch` misses
  std::optional<std::uint64_t> bytes_in, bytes_out;
  std::optional<std::uint64_t> lines_left_out; // of denials, before this line
  std::optional<std::chrono::microseconds> duration;
};

// Appends the line, newline included. Untrusted text is escaped, and cut at 8 KiB a value.
void format_access_record(const AccessRecord& record, std::string& line);
// The same in Envoy's default text format, as far as it has a place for it; "-" for the rest.
void format_envoy_record(const AccessRecord& record, std::string& line);

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
