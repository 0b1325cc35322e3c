// One question to the server that the client asked, and its answer: over UDP by a socket of its
// own for each question, so that source port and id are both unpredictable; over TCP by a
// connection that lives as long as the client's. Knows neither policy nor learning.
//
// Used on one worker's thread; a coroutine here ends when its deadline passes or its gate closes.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"
#include "proxy/dns/message.h"
#include "proxy/runtime/gate.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace weir::session {

// Who asks whom.
struct DnsFlow {
  ClientAddr client;
  OriginalDst server;        // a static listener's: its upstream
  std::uint8_t protocol = 0; // IPPROTO_UDP or IPPROTO_TCP
  // Ask from the client's own address, marked as judged (DESIGN §8); needs CAP_NET_ADMIN.
  bool transparent = false;
};

// Views of what the caller keeps until the answer is there.
struct UpstreamQuery {
  const DnsFlow& flow;
  dns::BytesView message; // with `id` in it
  const dns::Question& question;
  std::uint16_t id;
  std::chrono::steady_clock::time_point deadline;
  WorkerMetrics& metrics;
  const runtime::Gate& gate; // whose coroutine this is
};

inline constexpr std::string_view kUpstreamTimeout = "upstream-timeout";
inline constexpr std::string_view kUpstreamUnreachable = "upstream-unreachable";
inline constexpr std::string_view kUpstreamClosed = "upstream-closed";
inline constexpr std::string_view kStopped = "stopped"; // the worker's gate was closed

struct UpstreamAnswer {
  std::string_view failure; // one of the above; empty: `message` is the answer, id as sent
  dns::Bytes message;
};

// A datagram from another address, with another id or to another question is counted and waited
// past. scratch: kMaxMessage bytes, free for use whenever nothing else on the thread runs.
boost::asio::awaitable<UpstreamAnswer> ask_over_udp(UpstreamQuery query,
                                                    std::span<std::uint8_t> scratch);

// Owned by a client's TCP session; one question at a time.
class DnsTcpUpstream {
public:
  DnsTcpUpstream();
  ~DnsTcpUpstream();
  DnsTcpUpstream(const DnsTcpUpstream&) = delete;
  DnsTcpUpstream& operator=(const DnsTcpUpstream&) = delete;

  // A server may close a connection that waited for the next question (RFC 7766 §6.2.3): then it
  // is asked once more over a new one.
  boost::asio::awaitable<UpstreamAnswer> ask(UpstreamQuery query);

private:
  struct Connection;
  boost::asio::awaitable<UpstreamAnswer> ask_once(UpstreamQuery query);

  std::shared_ptr<Connection> x_connection;
};

} // namespace weir::session
