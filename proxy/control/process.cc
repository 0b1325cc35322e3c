#include "proxy/control/process.h"

#include "proxy/base/log.h"
#include "redirect-bpf/user/null_redirector.h"

#include <csignal>
#include <latch>
#include <utility>

namespace weir::control {
namespace {

// How often a draining process looks whether the last connection has ended.
constexpr std::chrono::milliseconds kDrainTick{20};

std::string_view protocol_name(config::ListenerProtocol protocol) {
  switch (protocol) {
  case config::ListenerProtocol::kHttp:
    return "http";
  case config::ListenerProtocol::kDns:
    return "dns";
  case config::ListenerProtocol::kTcp:
    break;
  }
  return "tcp";
}

std::vector<admin::ListenerRow> listener_rows(const config::Config& config) {
  std::vector<admin::ListenerRow> rows;
  for (const auto& listener : config.listeners) {
    rows.push_back({listener.name, "static", listener.address.to_string(),
                    std::string(protocol_name(listener.protocol))});
  }
  if (config.redirect.mode == config::RedirectMode::kBpf) {
    rows.push_back({"tcp", "transparent", "127.0.0.1, ::1", "by policy"});
    rows.push_back({"udp", "transparent", "127.0.0.1, ::1", "dns"});
  }
  return rows;
}

} // namespace

Process::Process(const config::Config& config)
    : x_config(config), x_signals(x_context), x_drain_timer(x_context) {}

Process::~Process() {
  // The admin thread asks the parts below; workers hold sessions that use the services.
  x_admin.reset();
  if (x_netlink) {
    static_cast<void>(x_netlink->release()); // the redirector's own
  }
  for (const auto& worker : x_workers) {
    worker->stop();
  }
}

std::vector<runtime::Worker*> Process::workers() const {
  std::vector<runtime::Worker*> workers;
  for (const auto& worker : x_workers) {
    workers.push_back(worker.get());
  }
  return workers;
}

Result<void> Process::start() {
  auto access_log =
      AccessLog::open(x_config.access_log.path, x_config.workers + 1,
                      {.format = x_config.access_log.format == config::AccessLogFormat::kEnvoy
                                     ? AccessLog::Options::Format::kEnvoy
                                     : AccessLog::Options::Format::kJson,
                       .max_denials_per_second = x_config.access_log.max_denials_per_second});
  if (!access_log) {
    return access_log.error();
  }
  x_access_log = std::move(*access_log);
  if (auto opened = open_redirector(); !opened) {
    return opened.error();
  }
  dns::FqdnCacheOptions fqdn;
  fqdn.min_ttl = x_config.dns.min_ttl;
  fqdn.grace = x_config.dns.grace;
  fqdn.max_names = x_config.dns.max_names;
  fqdn.max_addresses = x_config.dns.max_addresses;
  fqdn.max_total = x_config.dns.max_total;
  x_fqdn_cache.emplace(*x_redirector, std::move(fqdn));
  for (unsigned i = 0; i < x_config.workers; ++i) {
    x_workers.push_back(std::make_unique<runtime::Worker>(i));
    x_workers.back()->start();
  }
  x_controller.emplace(x_context, x_config, *x_redirector, *x_fqdn_cache, workers());
  x_controller->restore_state();
  x_controller->reload();
  if (auto opened = open_services(); !opened) {
    return opened.error();
  }
  if (x_config.acceleration.enabled) {
    accelerate(true);
  }
  if (x_bpf != nullptr) {
    x_flow_reader.emplace(x_context, *x_bpf, *x_controller, *x_fqdn_cache, x_flows, *x_access_log,
                          x_config.workers);
    x_flow_reader->start();
  }
  x_controller->set_listener_rows(listener_rows(x_config));
  x_controller->start();
  x_admin_source.emplace(x_context, *x_controller, *x_fqdn_cache, *x_redirector, x_flows, workers(),
                         AdminSource::Wishes{.reload = [this] { x_controller->reload(); },
                                             .accelerate = [this](bool on) { accelerate(on); },
                                             .drain = [this] { drain(); },
                                             .quit = [this] { quit(); }});
  auto server = admin::AdminServer::start(x_config, *x_admin_source);
  if (!server) {
    return server.error();
  }
  x_admin = std::move(*server);
  await_signal();
  return {};
}

Result<void> Process::open_redirector() {
  if (x_config.redirect.mode == config::RedirectMode::kNone) {
    x_redirector = std::make_unique<redirect::NullRedirector>();
    return {};
  }
  redirect::BpfRedirector::Options options;
  options.bpffs = x_config.redirect.bpffs;
  options.mount = true;
  auto opened = redirect::BpfRedirector::open(std::move(options));
  if (!opened) {
    return opened.error();
  }
  x_bpf = opened->get();
  log::info("programs are on interfaces by {}", x_bpf->attach_mode());
  x_redirector = std::move(*opened);
  x_netlink.emplace(x_context, x_bpf->netlink_fd());
  await_interfaces();
  return {};
}

Result<void> Process::open_services() {
  std::vector<redirect::WorkerListeners> listeners;
  for (const auto& worker : x_workers) {
    auto opened =
        WorkerServices::open(*worker, x_config, *x_fqdn_cache, *x_access_log, *x_redirector);
    if (!opened) {
      return opened.error();
    }
    listeners.push_back((*opened)->transparent());
    x_services.push_back(std::move(*opened));
  }
  std::latch started(static_cast<std::ptrdiff_t>(x_workers.size()));
  for (std::size_t i = 0; i < x_workers.size(); ++i) {
    x_workers[i]->post([this, i, &started] {
      x_services[i]->start();
      started.count_down();
    });
  }
  started.wait();
  return x_redirector->set_listeners(listeners);
}

// An interface that appears is to be enforced before its first packet passes, so its notification
// is handled as soon as it is there.
void Process::await_interfaces() {
  x_netlink->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                        [this](boost::system::error_code failed) {
                          if (failed) {
                            return;
                          }
                          const auto handled = x_bpf->handle_netlink();
                          if (!handled) {
                            log::error("interfaces: {}", handled.error().text());
                          }
                          await_interfaces();
                        });
}

void Process::await_signal() {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    boost::system::error_code ignored; // only fails for signals that cannot be caught
    x_signals.add(number, ignored);
  }
  x_signals.async_wait([this](boost::system::error_code failed, int number) {
    if (failed) {
      return;
    }
    if (number == SIGHUP) {
      const auto reopened = x_access_log->reopen();
      if (!reopened) {
        log::error("access log: {}", reopened.error().text());
      }
      x_controller->reload();
    } else if (x_quitting) {
      x_context.stop(); // asked twice: no more patience
    } else {
      quit();
    }
    await_signal();
  });
}

void Process::run() {
  log::info("weir-proxy serves with {} workers", x_config.workers);
  x_context.run();
  x_controller->stop();
  x_access_log->flush();
}

// Without it everything works, only slower: no reason to give up.
void Process::accelerate(bool enabled) {
  const auto done = x_redirector->set_acceleration(enabled);
  if (!done) {
    log::warning("acceleration is off: {}", done.error().text());
  } else {
    log::info("acceleration is {}", enabled ? "on" : "off");
  }
}

void Process::drain() {
  if (std::exchange(x_draining, true)) {
    return;
  }
  log::info("draining: no new connections");
  const auto cleared = x_redirector->clear_listeners();
  if (!cleared) {
    log::error("{}", cleared.error().text());
  }
  for (std::size_t i = 0; i < x_workers.size(); ++i) {
    x_workers[i]->post([this, i] { x_services[i]->stop_accepting(); });
  }
}

void Process::quit() {
  drain();
  x_quitting = true;
  x_drain_until = std::chrono::steady_clock::now() + x_config.drain_timeout;
  await_drained();
}

void Process::await_drained() {
  x_drain_timer.expires_after(kDrainTick);
  x_drain_timer.async_wait([this](boost::system::error_code failed) {
    if (failed) {
      return;
    }
    const auto open = open_connections();
    if (open == 0 || std::chrono::steady_clock::now() >= x_drain_until) {
      log::info("drained, {} connections cut", open);
      x_context.stop();
      return;
    }
    await_drained();
  });
}

std::uint64_t Process::open_connections() const {
  std::uint64_t open = 0;
  for (const auto& worker : x_workers) {
    const WorkerMetrics& metrics = worker->metrics();
    for (const auto& [opened, closed] :
         {std::pair(&metrics.http_connections_opened, &metrics.http_connections_closed),
          std::pair(&metrics.http2_connections_opened, &metrics.http2_connections_closed),
          std::pair(&metrics.tls_connections_opened, &metrics.tls_connections_closed),
          std::pair(&metrics.dns_tcp_connections_opened, &metrics.dns_tcp_connections_closed)}) {
      open += opened->value() - closed->value();
    }
  }
  return open;
}

} // namespace weir::control
