// Counters of the request path. Each worker writes its own set, so that no cache line is shared;
// the admin thread reads them all and adds up (proxy/admin/stats.h gives them names and labels).
#pragma once

#include "proxy/base/counter.h"
#include "proxy/base/pod_volumes.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir {

// How long something took, in buckets of microseconds. Written by one thread, read by any.
class Durations {
public:
  static constexpr std::array<std::uint64_t, 14> kBounds = {
      100,    250,    500,     1'000,   2'500,     5'000,     10'000,
      25'000, 50'000, 100'000, 250'000, 1'000'000, 2'500'000, 5'000'000};

  void add(std::uint64_t microseconds) {
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && microseconds > kBounds[bucket]) {
      ++bucket;
    }
    x_counts[bucket].add();
    x_sum.add(microseconds);
  }
  // Of one bucket, not of those below it; the last one has no bound.
  [[nodiscard]] std::uint64_t count(std::size_t bucket) const { return x_counts[bucket].value(); }
  [[nodiscard]] std::uint64_t sum() const { return x_sum.value(); } // microseconds

private:
  std::array<Counter, kBounds.size() + 1> x_counts;
  Counter x_sum;
};

enum class AccessVerdict : std::uint8_t { kAllowed, kDenied, kAudit, kError };
inline constexpr std::size_t kAccessVerdicts = 4;

// Which bound an HTTP/2 peer went beyond (proxy/http2/limits.h).
enum class Http2Flood : std::uint8_t {
  kReset, // by either side: what makes weir reset counts too
  kContinuation,
  kHeaderBlock, // encoded or decoded size of a head, far beyond the limit
  kSettings,
  kPing,
  kPriority,
  kEmptyData,
  kWindowUpdate,
  kIgnoredFrame,  // frames that mean nothing, heads for streams that are closed
  kOutboundQueue, // answers pile up because the peer does not read
};
inline constexpr std::size_t kHttp2Floods = 10;

// Why a DNS query was answered by weir itself, or not at all.
enum class DnsRefused : std::uint8_t {
  kName,     // no DNS rule allows it
  kDenied,   // a deny rule names it
  kPolicy,   // the server may not be reached
  kProtocol, // rules for another protocol
  kMalformed,
  kQuestion, // none, or of a class or type that is not passed on
  kOpcode,
  kTooMany, // in flight
  kUpstreamTimeout,
  kUpstreamUnreachable,
  kUpstreamClosed,
  kUpstreamMalformed,
  kLearnFailed, // the kernel took no more
};
// As in the access log and in metrics.
inline constexpr std::array<std::string_view, 13> kDnsRefusedTexts = {"name",
                                                                      "denied",
                                                                      "policy",
                                                                      "protocol",
                                                                      "malformed",
                                                                      "question",
                                                                      "opcode",
                                                                      "too-many-queries",
                                                                      "upstream-timeout",
                                                                      "upstream-unreachable",
                                                                      "upstream-closed",
                                                                      "upstream-malformed",
                                                                      "learn-failed"};
static_assert(kDnsRefusedTexts.size() == static_cast<std::size_t>(DnsRefused::kLearnFailed) + 1);
constexpr std::string_view to_text(DnsRefused reason) {
  return kDnsRefusedTexts[static_cast<std::size_t>(reason)];
}

struct WorkerMetrics {
  // Connections that clients opened to this worker, by protocol spoken.
  Counter http_connections_opened, http_connections_closed;
  Counter dns_tcp_connections_opened, dns_tcp_connections_closed;
  Counter connections_refused;  // accepted, and no policy or endpoint known for them
  Counter fqdn_binding_refused; // requests and TLS connections with a name not of the address

  // By answer's status (100..599; else index 0) and verdict.
  std::array<std::array<Counter, 600>, kAccessVerdicts> http_requests;
  Counter http_bytes_in, http_bytes_out; // of clients: bodies and heads
  Durations http_duration;               // from a head's last byte to the answer's
  Counter http_policy_resets;            // HTTP/1 requests under way ended by a change of policy
  Counter connections_over_limit;        // refused: the client has too many already
  Counter http_parse_errors;             // requests answered 4xx because of their form
  Counter upstream_connections_opened, upstream_connect_failures;
  Counter upstream_protocol_errors; // answers refused because of their form

  // DNS, UDP and TCP together.
  std::array<Counter, kAccessVerdicts> dns_queries;
  std::array<Counter, 16> dns_responses;                    // by RCODE
  std::array<Counter, kDnsRefusedTexts.size()> dns_refused; // by DnsRefused
  PodVolumes dns_volumes;
  Counter dns_malformed;   // datagrams or messages that were no query, dropped or refused
  Counter dns_repeated;    // queries that repeat one whose answer is awaited: dropped
  Counter dns_mismatched;  // answers dropped: other question or id, or too late
  Counter dns_not_learned; // addresses of answers of servers that are not trusted
  Counter dns_learned;     // addresses written to the map
  std::array<Counter, 4> dns_learn_refused; // addresses left out, by dns::NotLearned
  Durations dns_upstream_time;              // from asking the server to its answer
  Durations dns_held_time;                  // from then until the answer was released

  Counter access_log_lost; // lines that found the log's buffer full

  // HTTP/2, both roles.
  Counter http2_connections_opened, http2_connections_closed; // of clients
  std::array<Counter, kHttp2Floods> http2_floods;             // connections ended for it
  Counter http2_protocol_errors; // connections of clients ended for any other violation
  Counter http2_stalls;          // streams and connections ended because the client did not read
  Counter http2_policy_resets;   // running streams ended by a change of policy

  // TLS judged by server name, and plain TCP; once a connection.
  Counter tls_connections_opened, tls_connections_closed; // of clients
  std::array<Counter, kAccessVerdicts> tls_connections;   // when they ended
  Counter tls_hellos_refused;     // denied because no server name can be read from what came
  Counter tls_policy_resets;      // running connections ended by a change of policy
  Counter tls_handshake_failures; // of clients whose TLS weir was to end
};

} // namespace weir
