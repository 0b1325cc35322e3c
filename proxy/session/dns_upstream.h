// What a question to a server is, and who carries it there: UDP (dns_udp_upstream.h, one a worker)
// or TCP (dns_tcp_upstream.h, one a client's connection). Knows neither policy nor learning.
//
// Used on one worker's thread. Nothing here waits: the service withdraws what takes too long.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"
#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "proxy/dns/message.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

namespace weir::session {

// Who asks whom.
struct DnsFlow {
  ClientAddr client;
  OriginalDst server;        // a static listener's: its upstream
  std::uint8_t protocol = 0; // IPPROTO_UDP or IPPROTO_TCP
  // Ask from this address, the client's, marked as judged (DESIGN §8); needs CAP_NET_ADMIN. None:
  // from weir's own.
  std::optional<IpAddress> source;
};

// One question on its way. Its owner outlives the carrying or withdraws it.
class DnsQuestion {
public:
  using Clock = std::chrono::steady_clock;
  DnsQuestion(const DnsFlow& asking, dns::BytesView bytes, Clock::time_point taken)
      : flow(asking), started(taken), message(bytes.begin(), bytes.end()) {}
  virtual ~DnsQuestion() = default;
  DnsQuestion(const DnsQuestion&) = delete;
  DnsQuestion& operator=(const DnsQuestion&) = delete;

  // The answer, matched, with upstream_id in it; the bytes are free to be changed. The question
  // may be gone when this returns.
  virtual void answered(std::span<std::uint8_t> answer) = 0;
  virtual void failed(DnsRefused why) = 0; // kUpstream…; may be gone likewise

  const DnsFlow flow;
  const Clock::time_point started; // when the client's query was read
  dns::Bytes message;              // what is sent; the carrier writes the id
  dns::Query query;                // of the message, with the client's id

  // The carrier's own.
  std::uint16_t upstream_id = 0;
  void* carried_by = nullptr; // null: by nobody
  bool asked_again = false;
};

class DnsUpstream {
public:
  virtual ~DnsUpstream() = default;
  // Fails later or, by a false return, at once: DnsRefused::kUpstreamUnreachable.
  virtual bool ask(DnsQuestion& question) = 0;
  // Forgets the question; too late an answer to it goes nowhere. timed_out: nobody answered.
  virtual void withdraw(DnsQuestion& question, bool timed_out) = 0;
};

// Ids that cannot be guessed from those before them: from the kernel's generator, many at a time.
class DnsIds {
public:
  std::uint16_t next();

private:
  std::array<std::uint16_t, 256> x_random{};
  std::size_t x_left = 0;
};

// A socket for the flow, towards its server, not connected yet: of type SOCK_DGRAM bound to a port
// of the kernel's choice, of type SOCK_STREAM with the port left open.
[[nodiscard]] Result<UniqueFd> open_upstream_socket(const DnsFlow& flow, int type);

} // namespace weir::session
