// What becomes of an accepted TCP connection: refused, copied through, or spoken to in the
// protocol that policy wants. Nothing is guessed from its bytes: a protocol that policy did not
// name is refused, never passed through.
#pragma once

#include "proxy/runtime/memory_guard.h"
#include "proxy/session/http_service.h"
#include "proxy/session/tcp_handlers.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

namespace weir::session {

// What the listener was made for.
enum class Spoken : std::uint8_t {
  kByPolicy, // transparent: whatever policy says of this flow
  kHttp,
  kDns,
  kTcp, // no L7 protocol; TLS by server name is one
};

// The TCP side of one worker. Outlives the worker's gate and its listeners; after construction on
// the worker's thread only.
class TcpService {
public:
  // The context outlives the service.
  TcpService(SessionContext& context, TcpHandlers handlers);

  // Starts what sessions need. Once, before the first connection.
  void start();
  // Spawns the connection's session in the worker's gate.
  void serve(boost::asio::ip::tcp::socket socket, TcpFlow flow, std::unique_ptr<PolicyGate> gate,
             Spoken spoken);
  // Idle connections end, the others after their present request.
  void drain() { x_http.drain_list.drain(); }
  // One client's connections, counted for as long as they last.
  class Admission {
  public:
    Admission(TcpService& service, const IpAddress& client);
    Admission(Admission&& other) noexcept
        : x_service(std::exchange(other.x_service, nullptr)), x_client(other.x_client) {}
    Admission& operator=(Admission&&) = delete;
    ~Admission();

  private:
    TcpService* x_service;
    IpAddress x_client;
  };

  [[nodiscard]] SessionContext& context() { return x_context; }

private:
  // Sees at each tick whether the worker has a new snapshot.
  class SnapshotWatch final : public runtime::Deadline {
  public:
    explicit SnapshotWatch(TcpService& service);

  private:
    void on_deadline() override;
    TcpService& x_service;
    std::shared_ptr<const endpoint::Snapshot> x_seen;
  };

  static boost::asio::awaitable<void> run(TcpService& service, boost::asio::ip::tcp::socket socket,
                                          TcpFlow flow, std::unique_ptr<PolicyGate> gate,
                                          Spoken spoken, Admission admission);
  static boost::asio::awaitable<void> run_relay(TcpService& service,
                                                boost::asio::ip::tcp::socket socket, TcpFlow flow,
                                                std::unique_ptr<PolicyGate> gate);
  // The name of the limit that keeps one more connection of the client out; "": none.
  std::string_view reached_limit(const IpAddress& client);
  void refuse(boost::asio::ip::tcp::socket socket, const TcpFlow& flow, const PolicyGate& gate,
              std::string_view reason);

  SessionContext& x_context;
  TcpHandlers x_handlers;
  HttpService x_http;
  std::unordered_map<IpAddress, std::uint32_t> x_connections; // of each client
  runtime::MemoryGuard x_memory{runtime::memory_group()};
  SnapshotWatch x_snapshot_watch;
};

} // namespace weir::session
