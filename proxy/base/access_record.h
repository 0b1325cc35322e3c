// What became of a request, query or flow, and the line that says so: JSON (DESIGN §9), or Envoy's
// default text format.
//
// Any thread.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"

#include <chrono>
#include <cstdint>
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

} // namespace weir
