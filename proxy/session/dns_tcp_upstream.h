// Questions over TCP for one client's connection: pipelined over one connection to the server,
// answers in whatever order they come (RFC 7766 §6.2.1.1, §7).
//
// Owned by the client's session; its coroutines run in the worker's gate and outlive it safely.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/runtime/gate.h"
#include "proxy/session/dns_upstream.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <memory>

namespace weir::session {

class DnsTcpUpstream final : public DnsUpstream {
public:
  // All of them outlive it.
  DnsTcpUpstream(boost::asio::io_context& context, runtime::Gate& gate, WorkerMetrics& metrics,
                 DnsIds& ids);
  ~DnsTcpUpstream() override; // nothing is in flight any more

  // A server may close a connection that waited for the next question (RFC 7766 §6.2.3): what was
  // asked over a connection that had answered before is asked once more over a new one.
  bool ask(DnsQuestion& question) override;
  void withdraw(DnsQuestion& question, bool timed_out) override;

private:
  struct Connection;
  std::shared_ptr<Connection> open(const DnsFlow& flow);
  void leave(Connection& connection, DnsRefused why);
  void take(Connection& connection, dns::Bytes& answer);
  static boost::asio::awaitable<void> run(std::shared_ptr<Connection> connection,
                                          SocketAddress server);
  static boost::asio::awaitable<void> write(std::shared_ptr<Connection> connection);

  boost::asio::io_context& x_context;
  runtime::Gate& x_gate;
  WorkerMetrics& x_metrics;
  DnsIds& x_ids;
  std::shared_ptr<Connection> x_connection; // the one that questions go to; may be null
};

} // namespace weir::session
