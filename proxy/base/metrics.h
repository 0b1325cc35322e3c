// Counters of the request path. Each worker writes its own set, so that no cache line is shared;
// the admin thread reads them all and adds up (proxy/admin/stats.h gives them names and labels).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weir {

// Written by one thread, read by any.
class Counter {
public:
  void add(std::uint64_t count = 1) {
    // No read-modify-write needed: there is one writer.
    x_value.store(x_value.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return x_value.load(std::memory_order_relaxed); }

private:
  std::atomic<std::uint64_t> x_value{0};
};

enum class AccessVerdict : std::uint8_t { kAllowed, kDenied, kAudit, kError };
inline constexpr std::size_t kAccessVerdicts = 4;

struct WorkerMetrics {
  // Connections that clients opened to this worker, by protocol spoken.
  Counter http_connections_opened, http_connections_closed;
  Counter dns_tcp_connections_opened, dns_tcp_connections_closed;
  Counter connections_refused; // accepted, and no policy or endpoint known for them

  // By answer's status (100..599; else index 0) and verdict.
  std::array<std::array<Counter, 600>, kAccessVerdicts> http_requests;
  Counter http_bytes_in, http_bytes_out; // of clients: bodies and heads
  Counter http_parse_errors;             // requests answered 4xx because of their form
  Counter upstream_connections_opened, upstream_connect_failures;
  Counter upstream_protocol_errors; // answers refused because of their form

  // DNS, UDP and TCP together.
  std::array<Counter, kAccessVerdicts> dns_queries;
  std::array<Counter, 16> dns_responses; // by RCODE
  Counter dns_upstream_timeouts;
  Counter dns_malformed;     // datagrams or messages that were no query, dropped or refused
  Counter dns_mismatched;    // answers dropped: other question, id or server
  Counter dns_learned;       // addresses written to the map
  Counter dns_learn_refused; // addresses of refused ranges or without an unbroken chain
  Counter dns_learn_failed;  // map writes that failed: the answer was not released

  Counter access_log_lost; // lines that found the log's buffer full
};

} // namespace weir
