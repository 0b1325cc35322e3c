#include "proxy/control/worker_services.h"

#include "proxy/session/dns_gate_policy.h"
#include "proxy/session/dns_tcp_session.h"
#include "proxy/session/onward.h"
#include "proxy/session/tls_handler.h"

#include <netinet/in.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace weir::control {
namespace {

session::FixedFlow fixed_flow(const config::StaticListener& listener) {
  return {listener.direction == config::ListenerDirection::kIngress ? policy::Direction::kIngress
                                                                    : policy::Direction::kEgress,
          listener.endpoint, listener.peer, listener.port};
}

session::TlsLimits tls_limits(const config::Tls& tls) {
  return {tls.hello_timeout, tls.answer_timeout, tls.idle_timeout, tls.handshake_timeout};
}

// Half of what the process may open is left to connections.
std::size_t sockets_of_a_worker(std::uint32_t workers) {
  rlimit limit{};
  const std::size_t files = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
  return std::clamp<std::size_t>(files / 2 / workers, 64, 4096);
}

session::DnsOptions dns_options(const config::Dns& dns, std::uint32_t workers,
                                const runtime::Worker& worker, redirect::Redirector& redirector) {
  session::DnsOptions options;
  options.all_upstream_sockets = sockets_of_a_worker(workers);
  options.upstream_timeout = dns.upstream_timeout;
  options.onward = [&worker, &redirector](ClientAddr client, OriginalDst asked) {
    return session::onward(worker, &redirector, client, asked, IPPROTO_UDP);
  };
  options.tcp_idle = dns.tcp_idle;
  options.max_in_flight = dns.max_in_flight;
  options.max_in_flight_per_client = dns.max_in_flight_per_pod;
  options.learn_private = dns.learn_private;
  options.lenient = dns.lenient;
  return options;
}

} // namespace

WorkerServices::WorkerServices(runtime::Worker& worker, const config::Config& config,
                               dns::FqdnCache& fqdn_cache, AccessLog& access_log,
                               redirect::Redirector& redirector)
    : x_joined(redirector),
      x_context{worker, config.http, fqdn_cache, access_log, &redirector, config.dns, &x_joined},
      x_http2_options(session::http2_options(config.http, config.http2)),
      x_dns(worker, access_log, dns_options(config.dns, config.workers, worker, redirector)),
      x_tls_limits(tls_limits(config.tls)), x_tls(worker, access_log, x_tls_limits),
      x_tcp(x_context, handlers()) {}

session::TcpHandlers WorkerServices::handlers() {
  session::TcpHandlers handlers;
  handlers.dns = [this](session::SessionContext& context, boost::asio::ip::tcp::socket socket,
                        std::unique_ptr<session::PolicyGate> gate, session::TcpFlow flow) {
    return session::serve_dns_tcp(x_dns, context, std::move(socket), std::move(gate), flow);
  };
  handlers.tls = [this](session::SessionContext& context, boost::asio::ip::tcp::socket socket,
                        std::unique_ptr<session::PolicyGate> gate, session::TcpFlow flow) {
    return session::serve_tls(x_tls, context, std::move(socket), std::move(gate), flow);
  };
  handlers.intercept = [this](session::SessionContext& context, session::HttpService& http,
                              boost::asio::ip::tcp::socket socket,
                              std::unique_ptr<session::PolicyGate> gate, session::TcpFlow flow,
                              bool answer_denied_flows, std::string default_host) {
    return session::serve_intercepted(x_intercept, context, http, std::move(socket),
                                      std::move(gate), flow, answer_denied_flows,
                                      std::move(default_host));
  };
  handlers.http2 = [this](session::HttpService& service, std::unique_ptr<net::Stream> client,
                          std::string received, std::unique_ptr<session::HttpJudge> judge,
                          std::unique_ptr<net::Connector> connector) {
    return session::serve_http2(x_http2_options, x_context.worker.context(), service,
                                std::move(client), std::move(received), std::move(judge),
                                std::move(connector));
  };
  return handlers;
}

Result<std::unique_ptr<WorkerServices>> WorkerServices::open(runtime::Worker& worker,
                                                             const config::Config& config,
                                                             dns::FqdnCache& fqdn_cache,
                                                             AccessLog& access_log,
                                                             redirect::Redirector& redirector) {
  std::unique_ptr<WorkerServices> services(
      new WorkerServices(worker, config, fqdn_cache, access_log, redirector));
  for (const auto& listener : config.listeners) {
    if (auto opened = services->open_static(listener); !opened) {
      return Error{opened.error().code,
                   "listener " + listener.name + ": " + opened.error().context};
    }
  }
  if (config.redirect.mode == config::RedirectMode::kBpf) {
    if (auto opened = services->open_transparent(); !opened) {
      return opened.error();
    }
  }
  return services;
}

Result<void> WorkerServices::open_static(const config::StaticListener& listener) {
  auto tcp = session::StaticListener::open(x_tcp, listener);
  if (!tcp) {
    return tcp.error();
  }
  x_static.push_back(std::move(*tcp));
  if (listener.protocol != config::ListenerProtocol::kDns) {
    return {};
  }
  auto udp = session::DnsListener::open_static(
      x_dns, ListenAddr{listener.address}, listener.upstream,
      [this, flow = fixed_flow(listener)](ClientAddr, OriginalDst) {
        return session::make_dns_policy(x_context, flow, IPPROTO_UDP);
      });
  if (!udp) {
    return udp.error();
  }
  x_dns_listeners.push_back(std::move(*udp));
  return {};
}

Result<void> WorkerServices::open_transparent() {
  auto tcp = session::TransparentListeners::open(x_tcp);
  if (!tcp) {
    return tcp.error();
  }
  x_transparent = std::move(*tcp);
  for (auto* const lanes : {&x_transparent_dns4, &x_transparent_dns6}) {
    auto udp = session::DnsListener::open_transparent(
        x_dns, lanes == &x_transparent_dns6, WEIR_UDP_LANES,
        [this](ClientAddr client, OriginalDst destination) {
          return session::make_dns_policy(x_context, client, destination, IPPROTO_UDP);
        });
    if (!udp) {
      return udp.error();
    }
    *lanes = std::move(*udp);
  }
  return {};
}

void WorkerServices::start() {
  x_tls.start();
  x_tcp.start();
  runtime::Gate& gate = x_context.worker.gate();
  for (const auto& listener : x_static) {
    listener->start();
  }
  for (const auto& listener : x_dns_listeners) {
    gate.spawn(listener->run());
  }
  if (x_transparent) {
    x_transparent->start();
    for (const auto* const lanes : {&x_transparent_dns4, &x_transparent_dns6}) {
      for (const auto& lane : *lanes) {
        gate.spawn(lane->run());
      }
    }
  }
}

void WorkerServices::stop_accepting() {
  for (const auto& listener : x_static) {
    listener->stop();
  }
  for (const auto& listener : x_dns_listeners) {
    listener->close();
  }
  if (x_transparent) {
    x_transparent->stop();
    for (const auto* const lanes : {&x_transparent_dns4, &x_transparent_dns6}) {
      for (const auto& lane : *lanes) {
        lane->close();
      }
    }
  }
  x_tcp.drain();
}

redirect::WorkerListeners WorkerServices::transparent() {
  if (!x_transparent) {
    return {};
  }
  const auto sockets = [](const DnsLanes& lanes) {
    std::vector<int> out;
    for (const auto& lane : lanes) {
      out.push_back(lane->fd());
    }
    return out;
  };
  return {x_transparent->tcp4(), x_transparent->tcp6(), sockets(x_transparent_dns4),
          sockets(x_transparent_dns6)};
}

} // namespace weir::control
