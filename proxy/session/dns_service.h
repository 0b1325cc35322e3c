// The one way of a DNS query through a worker, whichever socket it came by:
//
//   parse ─► judge ─► count in ─► ask the server ─► match ─► learn ─► release, id restored
//     │        │          │             │                      │
//   FORMERR  REFUSED   SERVFAIL      SERVFAIL               SERVFAIL
//   or none  NXDOMAIN  (too many)    (time-out, …)          (the kernel took no more)
//
// One a worker, on its thread; outlives the worker's gate. Knows no client sockets.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/dns/learner.h"
#include "proxy/dns/message.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/dns_policy.h"
#include "proxy/session/dns_udp_upstream.h"
#include "proxy/session/dns_upstream.h"
#include "proxy/session/onward.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace weir::session {

struct DnsOptions {
  std::chrono::milliseconds upstream_timeout{3000}; // config::Dns, as the next four
  std::chrono::milliseconds tcp_idle{30000};
  std::size_t max_in_flight = 2048;
  std::size_t max_in_flight_per_client = 512;
  bool learn_private = true;
  bool lenient = false;
  std::size_t upstream_sockets = 1024; // UDP, towards one server
  std::size_t all_upstream_sockets = 4096;
  // However many others are in flight, so many of a client's find room.
  std::size_t reserved_per_client = 16;
  // Who is asked, and as whom, where a query over UDP was redirected. Unset: whom the client asked,
  // as the client.
  std::function<Onward(ClientAddr client, OriginalDst asked)> onward;
};

// Where a query came from and its answer goes to: a listener or a TCP session.
class DnsClient {
public:
  virtual ~DnsClient() = default;
  // from, to: as in DnsOrigin. Empty: there will be no answer, because the worker stops.
  virtual void send(const SocketAddress& from, const SocketAddress& to, dns::BytesView answer) = 0;
};

struct DnsOrigin {
  DnsFlow flow;
  std::shared_ptr<DnsPolicy> policy;
  DnsClient& client;          // until the answer, or DnsService::forget()
  SocketAddress asked;        // the address that the client sent the query to
  DnsUpstream* tcp = nullptr; // who carries it; null: UDP
};

class DnsService {
public:
  // The access log and the worker outlive it.
  DnsService(runtime::Worker& worker, AccessLog& access_log, DnsOptions options);
  ~DnsService();
  DnsService(const DnsService&) = delete;
  DnsService& operator=(const DnsService&) = delete;

  enum class Taken : std::uint8_t {
    kAnswered, // already
    kPending,  // the client's send() will be called once
    kDropped,  // repeats one that is pending
    kNoQuery,  // never to be answered
  };
  Taken take(DnsOrigin origin, dns::BytesView message);
  // The client ends: its queries are given up without a word.
  void forget(const DnsClient& client);
  [[nodiscard]] bool has_pending(const DnsClient& client) const; // looks at all that is in flight

  [[nodiscard]] runtime::Worker& worker() { return x_worker; }
  [[nodiscard]] const DnsOptions& options() const { return x_options; }
  [[nodiscard]] DnsIds& ids() { return x_ids; }
  // For one turn of a listener; what is in it does not outlive that.
  [[nodiscard]] std::vector<std::uint8_t>& receive_buffers() { return x_receive_buffers; }
  [[nodiscard]] std::size_t in_flight() const { return x_asks.size(); }

private:
  using Clock = std::chrono::steady_clock;
  class Ask;
  // What a retransmission has in common with the query that it repeats. The question's bytes are
  // the message's, which outlives it.
  struct Sameness {
    Sameness(const DnsFlow& flow, std::uint16_t message_id, dns::BytesView message,
             const dns::Question& asked);
    bool operator==(const Sameness&) const = default;

    SocketAddress client, server;
    std::uint16_t id;
    std::string_view question;
  };
  struct SamenessHash { // not noexcept: as std::hash<DnsName>
    std::size_t operator()(const Sameness& query) const;
  };
  struct Outcome {
    AccessVerdict verdict;
    dns::Rcode rcode;
    std::string_view denied_by;
    std::optional<DnsRefused> reason;
  };

  [[nodiscard]] DnsUpstream& upstream_of(const DnsOrigin& origin);
  [[nodiscard]] bool has_room_for(const IpAddress& client) const;
  void answered(Ask& ask, std::span<std::uint8_t> answer);
  void failed(Ask& ask, DnsRefused why);
  // Nothing, or why the answer must not be released.
  std::optional<DnsRefused> learn(Ask& ask, dns::BytesView answer);
  void refuse(const DnsOrigin& origin, const dns::Question* question, Clock::time_point started,
              dns::BytesView query, const Outcome& outcome);
  void account(const DnsOrigin& origin, const dns::Question* question, Clock::duration duration,
               std::size_t bytes_in, dns::BytesView answer, const Outcome& outcome);
  void end(Ask& ask);
  boost::asio::awaitable<void> watch();

  runtime::Worker& x_worker;
  AccessLog& x_access_log;
  const DnsOptions x_options;
  std::vector<std::uint8_t> x_scratch, x_receive_buffers;
  DnsIds x_ids;
  DnsUdpUpstream x_udp;
  std::list<Ask> x_asks; // oldest first: all have the same time
  bool x_watched = false;
  boost::asio::steady_timer x_timer;
  std::unordered_map<IpAddress, std::size_t> x_in_flight_by_client;
  std::unordered_set<Sameness, SamenessHash> x_folded; // UDP queries in flight
  std::string x_name_text;                             // keeps its storage
};

} // namespace weir::session
