// The one way of a DNS query through a worker, whichever socket it came by:
//
//   parse ─► judge ─► count in ─► ask the server ─► match ─► learn ─► release, id restored
//     │        │          │             │                      │
//   FORMERR  REFUSED   SERVFAIL      SERVFAIL               SERVFAIL
//   or none            (too many)    (time-out, …)          (the kernel took no more)
//
// One a worker, on its thread; outlives the worker's gate. Knows no client sockets.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/dns/message.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/dns_policy.h"
#include "proxy/session/dns_upstream.h"

#include <boost/asio/awaitable.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
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
  std::chrono::milliseconds upstream_timeout{3000}; // config::Dns
  std::chrono::milliseconds tcp_idle{30000};        // between a client's queries
  std::size_t max_in_flight = 2048;                 // of a worker; each is a socket
  std::size_t max_in_flight_per_client = 512;       // one pod's flood leaves room for the others
  // Servers whose answers are learned from; empty: every server that a DNS rule lets a pod ask.
  std::function<bool(const IpAddress&)> trusted;
  // The server behind the address that a client asks over UDP, where that is a service's.
  std::function<std::optional<SocketAddress>(const SocketAddress& client,
                                             const SocketAddress& asked)>
      server_behind;
};

class DnsService {
public:
  // A query on its way; what is in flight holds its place among the others.
  struct Ask {
    Ask(DnsService& owner, const DnsFlow& asking, std::shared_ptr<DnsPolicy> judge);
    ~Ask();
    Ask(const Ask&) = delete;
    Ask& operator=(const Ask&) = delete;

    DnsService& service;
    const DnsFlow flow;
    const std::shared_ptr<DnsPolicy> policy;
    const std::chrono::steady_clock::time_point started;
    dns::Bytes message;
    dns::Query query;
    bool judged = false;
    bool counted = false;
    std::string fold_key; // UDP: among x_folded
  };

  struct Begun {
    dns::Bytes answer;        // to be sent; empty: nothing is
    std::unique_ptr<Ask> ask; // to be finished; null: that was all
  };

  // The access log and the worker outlive it.
  DnsService(runtime::Worker& worker, AccessLog& access_log, DnsOptions options);
  DnsService(const DnsService&) = delete;
  DnsService& operator=(const DnsService&) = delete;

  // Everything that needs no waiting.
  Begun begin(const DnsFlow& flow, std::shared_ptr<DnsPolicy> policy, dns::BytesView message);
  // The answer to be sent; empty when the worker stops. tcp: the session's, or null for UDP.
  boost::asio::awaitable<dns::Bytes> finish(std::unique_ptr<Ask> ask, DnsTcpUpstream* tcp);

  [[nodiscard]] runtime::Worker& worker() { return x_worker; }
  [[nodiscard]] const DnsOptions& options() const { return x_options; }
  [[nodiscard]] std::size_t in_flight() const { return x_in_flight; }
  // For reading a datagram; free for use whenever nothing else on the thread runs.
  [[nodiscard]] std::span<std::uint8_t> scratch() { return x_scratch; }

private:
  struct Outcome {
    AccessVerdict verdict;
    std::string_view denied_by;
    std::string_view reason;
  };

  std::uint16_t random_id();
  bool count_in(Ask& ask);
  // Empty, or why the answer must not be released.
  std::string_view learn(Ask& ask, dns::BytesView answer);
  dns::Bytes refuse(const Ask& ask, dns::BytesView query, dns::Rcode rcode, const Outcome& outcome);
  void account(const Ask& ask, dns::BytesView query, dns::BytesView answer, const Outcome& outcome);

  runtime::Worker& x_worker;
  AccessLog& x_access_log;
  DnsOptions x_options;
  std::size_t x_in_flight = 0;
  std::unordered_map<IpAddress, std::size_t> x_in_flight_by_client;
  std::unordered_set<std::string> x_folded;
  std::array<std::uint16_t, 256> x_random{};
  std::size_t x_random_left = 0;
  std::vector<std::uint8_t> x_scratch;
};

} // namespace weir::session
