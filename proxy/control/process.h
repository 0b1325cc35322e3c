// The running weir-proxy: makes the parts in the order of their dependence, puts them to work,
// and ends them in the opposite order. Control thread, which is the main thread.
#pragma once

#include "proxy/admin/admin_server.h"
#include "proxy/base/access_log.h"
#include "proxy/base/result.h"
#include "proxy/config/config.h"
#include "proxy/control/admin_source.h"
#include "proxy/control/controller.h"
#include "proxy/control/flow_reader.h"
#include "proxy/control/worker_services.h"
#include "proxy/dns/fqdn_cache.h"
#include "proxy/runtime/worker.h"
#include "redirect-bpf/user/bpf_redirector.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

namespace weir::control {

class Process {
public:
  // The configuration outlives the process.
  explicit Process(const config::Config& config);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Everything up to serving: an error is one that nothing can be done without.
  Result<void> start();
  // Serves until SIGTERM, SIGINT or POST /quitquitquit, then drains. SIGHUP reads everything anew.
  void run();

private:
  Result<void> open_redirector();
  Result<void> open_services();
  void await_signal();
  void await_interfaces();
  void accelerate(bool enabled);
  void drain();
  void quit();
  void await_drained();
  [[nodiscard]] std::uint64_t open_connections() const;
  [[nodiscard]] std::vector<runtime::Worker*> workers() const;

  const config::Config& x_config;
  boost::asio::io_context x_context{1};
  boost::asio::signal_set x_signals;
  boost::asio::steady_timer x_drain_timer;
  std::chrono::steady_clock::time_point x_drain_until;
  bool x_draining = false, x_quitting = false;

  // In the order in which they are made; destroyed backwards.
  std::unique_ptr<AccessLog> x_access_log;
  std::unique_ptr<redirect::Redirector> x_redirector;
  redirect::BpfRedirector* x_bpf = nullptr; // x_redirector, where it is one
  std::optional<boost::asio::posix::stream_descriptor> x_netlink;
  std::optional<dns::FqdnCache> x_fqdn_cache;
  std::vector<std::unique_ptr<runtime::Worker>> x_workers;
  std::vector<std::unique_ptr<WorkerServices>> x_services;
  std::optional<Controller> x_controller;
  admin::FlowLog x_flows;
  std::optional<FlowReader> x_flow_reader; // where there is a kernel half
  std::optional<AdminSource> x_admin_source;
  std::unique_ptr<admin::AdminServer> x_admin;
};

} // namespace weir::control
