// Everything that one worker serves: its sessions' services and its listeners, static and
// transparent, for the protocols that weir speaks.
//
// Opened on the control thread before the worker serves; start() and stop_accepting() on the
// worker's thread; destroyed after the worker has stopped.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/result.h"
#include "proxy/config/config.h"
#include "proxy/net/short_way.h"
#include "proxy/session/context.h"
#include "proxy/session/dns_service.h"
#include "proxy/session/dns_session.h"
#include "proxy/session/http2_session.h"
#include "proxy/session/listeners.h"
#include "proxy/session/tcp_session.h"
#include "proxy/session/tls_intercept.h"
#include "proxy/session/tls_session.h"
#include "redirect-bpf/user/redirector.h"

#include <memory>
#include <vector>

namespace weir::control {

class WorkerServices {
public:
  // All references outlive it.
  static Result<std::unique_ptr<WorkerServices>>
  open(runtime::Worker& worker, const config::Config& config, dns::FqdnCache& fqdn_cache,
       AccessLog& access_log, redirect::Redirector& redirector);

  void start();
  // No new connections and queries; idle connections end, the others after their present request.
  void stop_accepting();

  // For the data path; none where there are only static listeners.
  [[nodiscard]] redirect::WorkerListeners transparent();

private:
  WorkerServices(runtime::Worker& worker, const config::Config& config, dns::FqdnCache& fqdn_cache,
                 AccessLog& access_log, redirect::Redirector& redirector);
  [[nodiscard]] session::TcpHandlers handlers();
  Result<void> open_static(const config::StaticListener& listener);
  Result<void> open_transparent();

  // What sessions need of joined sockets.
  class JoinedSockets final : public net::ShortWay {
  public:
    explicit JoinedSockets(redirect::Redirector& redirector) : x_redirector(redirector) {}
    bool leave(int socket) const override { return x_redirector.leave_acceleration(socket); }

  private:
    redirect::Redirector& x_redirector;
  };

  const JoinedSockets x_joined;
  session::SessionContext x_context;
  const session::Http2Bridge::Options x_http2_options;
  session::DnsService x_dns;
  const session::TlsLimits x_tls_limits;
  session::TlsService x_tls;
  session::InterceptService x_intercept{x_tls_limits, x_tls};
  session::TcpService x_tcp;
  std::vector<std::unique_ptr<session::StaticListener>> x_static;
  std::vector<std::unique_ptr<session::DnsListener>> x_dns_listeners;
  std::unique_ptr<session::TransparentListeners> x_transparent;
  using DnsLanes = std::vector<std::unique_ptr<session::DnsListener>>;
  DnsLanes x_transparent_dns4, x_transparent_dns6;
};

} // namespace weir::control
