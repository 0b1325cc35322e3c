// The admin server: a thread and an io_context of its own, so that a slow scraper delays no
// request. Two sockets: `admin.address` answers everything, `metrics.address` only metrics and
// health. Whoever opens too many connections, sends too much or waits too long is disconnected.
#pragma once

#include "proxy/admin/follower.h"
#include "proxy/admin/model.h"
#include "proxy/admin/routes.h"
#include "proxy/config/config.h"
#include "proxy/runtime/gate.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <thread>

namespace weir::admin {

class AdminServer {
public:
  // Listens when it returns. Source outlives the server; the configuration is copied.
  static Result<std::unique_ptr<AdminServer>> start(const config::Config& config, Source& source);
  // Ends all connections and the thread.
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // As bound: tells the port where the configuration says 0.
  [[nodiscard]] SocketAddress admin_address() const { return x_admin.address; }
  [[nodiscard]] SocketAddress metrics_address() const { return x_metrics.address; }

private:
  struct Listener {
    Listener(boost::asio::io_context& context, Face listener_face)
        : acceptor(context), face(listener_face) {}

    boost::asio::ip::tcp::acceptor acceptor;
    Face face;
    SocketAddress address;
    std::size_t connections = 0;
  };

  AdminServer(const config::Config& config, Source& source);

  Result<void> listen(Listener& listener, const SocketAddress& address, std::string_view key);
  boost::asio::awaitable<void> accept(Listener& listener);
  boost::asio::awaitable<void> serve(Listener& listener, boost::asio::ip::tcp::socket socket);

  const config::Config x_config;
  RouteContext x_routes;
  boost::asio::io_context x_context{1};
  FlowFollowers x_followers;
  runtime::Gate x_gate{x_context};
  Listener x_admin{x_context, Face::kAdmin};
  Listener x_metrics{x_context, Face::kMetrics};
  std::thread x_thread;
};

} // namespace weir::admin
