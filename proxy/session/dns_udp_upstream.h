// Questions over UDP, of all clients of a worker.
//
//   source, server ─► pool of sockets ─► socket: id → question
//
// The first questions of a pool each open a socket, and so have a port of their own; a full pool
// lends its sockets out by the kernel's dice, and a socket that was used kMaxUses times gives way
// to a new one on another port. So port and id stay unpredictable (RFC 5452 §9.2), while a busy
// client does not cost a socket a question. Sockets are connected: the kernel drops what comes from
// elsewhere, and tells when the server's port is closed.
//
// All sockets are watched by one epoll set, of which the worker's loop sees only the one
// descriptor: re-arming hundreds of them through the loop would cost a system call each.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/session/dns_upstream.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace weir::session {

class DnsUdpUpstream final : public DnsUpstream {
public:
  static constexpr int kMaxUses = 64;
  static constexpr std::chrono::seconds kMaxIdle{10};
  struct Limits {
    std::size_t pool = 1024; // sockets
    std::size_t all = 4096;  // of all pools
  };

  // All of them outlive it. scratch: kMaxMessage bytes, free for use whenever nothing else on the
  // thread runs.
  DnsUdpUpstream(boost::asio::io_context& context, WorkerMetrics& metrics, DnsIds& ids,
                 std::span<std::uint8_t> scratch, Limits limits);
  ~DnsUdpUpstream() override;

  bool ask(DnsQuestion& question) override;
  void withdraw(DnsQuestion& question, bool timed_out) override;

  // Closes sockets that have not been used for a while; to be called every few seconds.
  void close_idle();
  void close_all(); // nothing is in flight any more, and nothing will be asked
  [[nodiscard]] std::size_t open_sockets() const { return x_open; }

private:
  using Clock = std::chrono::steady_clock;
  struct Pool;
  struct Socket;
  struct Key {
    IpAddress source; // unspecified: weir's own
    SocketAddress server;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  Socket* pick(Pool& pool, const DnsFlow& flow);
  Socket* open(Pool& pool, const DnsFlow& flow);
  void close_unused(Clock::time_point since);
  void close(Socket& socket);
  void retire(Socket& socket);
  void await_answers();
  void receive_answers();
  void receive(Socket& socket);
  bool receive_one(Socket& socket);
  void fail(Socket& socket);

  WorkerMetrics& x_metrics;
  DnsIds& x_ids;
  const std::span<std::uint8_t> x_scratch;
  const Limits x_limits;
  boost::asio::posix::stream_descriptor x_epoll;
  bool x_awaiting = false;
  std::unordered_map<Key, Pool, KeyHash> x_pools;
  std::size_t x_open = 0;
  std::vector<std::unique_ptr<Socket>> x_closed; // while events that name them are handled
  bool x_handling = false;
  // Expires with this, before the loop drops a wait for answers.
  std::shared_ptr<void> x_alive = std::make_shared<char>();
};

} // namespace weir::session
