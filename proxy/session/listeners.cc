#include "proxy/session/listeners.h"

#include "proxy/net/listener.h"
#include "proxy/session/onward.h"

#include <netinet/in.h>

#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

Result<void> adopt(asio::ip::tcp::acceptor& acceptor, bool v4, UniqueFd fd) {
  boost::system::error_code error;
  acceptor.assign(v4 ? asio::ip::tcp::v4() : asio::ip::tcp::v6(), fd.get(), error);
  if (error) {
    return Error{error, "watch a listening socket"};
  }
  static_cast<void>(fd.release());
  return {};
}

void close(asio::ip::tcp::acceptor& acceptor) {
  boost::system::error_code ignored;
  acceptor.close(ignored);
}

Spoken spoken_by(config::ListenerProtocol protocol) {
  switch (protocol) {
  case config::ListenerProtocol::kHttp:
    return Spoken::kHttp;
  case config::ListenerProtocol::kDns:
    return Spoken::kDns;
  case config::ListenerProtocol::kTcp:
    break;
  }
  return Spoken::kTcp;
}

} // namespace

StaticListener::StaticListener(TcpService& service, const config::StaticListener& options,
                               ListenAddr address)
    : x_service(service), x_options(options), x_address(address),
      x_acceptor(service.context().worker.context()) {}

Result<std::unique_ptr<StaticListener>>
StaticListener::open(TcpService& service, const config::StaticListener& options) {
  auto fd = net::open_static_listener(ListenAddr{options.address});
  if (!fd) {
    return fd.error();
  }
  const auto address = net::bound_address(fd->get());
  if (!address) {
    return address.error();
  }
  std::unique_ptr<StaticListener> listener(new StaticListener(service, options, *address));
  if (auto result = adopt(listener->x_acceptor, options.address.ip.is_v4(), std::move(*fd));
      !result) {
    return result.error();
  }
  return listener;
}

void StaticListener::start() {
  x_service.context().worker.gate().spawn(
      net::accept_loop(x_acceptor, [this](asio::ip::tcp::socket socket, ClientAddr client) {
        TcpFlow flow;
        flow.client = client;
        flow.destination = OriginalDst{x_options.upstream};
        flow.port = x_options.port != 0 ? x_options.port : x_options.upstream.port;
        FixedFlow fixed;
        fixed.direction = x_options.direction == config::ListenerDirection::kIngress
                              ? policy::Direction::kIngress
                              : policy::Direction::kEgress;
        fixed.endpoint = x_options.endpoint;
        fixed.peer = x_options.peer;
        fixed.port = flow.port;
        SessionContext& context = x_service.context();
        auto gate = std::make_unique<PolicyGate>(context.worker, context.fqdn_cache,
                                                 std::move(fixed), IPPROTO_TCP);
        x_service.serve(std::move(socket), flow, std::move(gate), spoken_by(x_options.protocol));
      }));
}

void StaticListener::stop() { close(x_acceptor); }

TransparentListeners::TransparentListeners(TcpService& service)
    : x_service(service), x_tcp4(service.context().worker.context()),
      x_tcp6(service.context().worker.context()) {}

Result<std::unique_ptr<TransparentListeners>> TransparentListeners::open(TcpService& service) {
  std::unique_ptr<TransparentListeners> listeners(new TransparentListeners(service));
  for (const net::Family family : {net::Family::kV4, net::Family::kV6}) {
    auto fd = net::open_transparent_listener(family);
    if (!fd) {
      return fd.error();
    }
    const bool v4 = family == net::Family::kV4;
    if (auto result = adopt(v4 ? listeners->x_tcp4 : listeners->x_tcp6, v4, std::move(*fd));
        !result) {
      return result.error();
    }
  }
  return listeners;
}

void TransparentListeners::start() {
  accept_from(x_tcp4);
  accept_from(x_tcp6);
}

void TransparentListeners::stop() {
  close(x_tcp4);
  close(x_tcp6);
}

void TransparentListeners::accept_from(asio::ip::tcp::acceptor& acceptor) {
  const auto own = net::bound_address(acceptor.native_handle());
  x_service.context().worker.gate().spawn(
      net::accept_loop(acceptor, [this, own](asio::ip::tcp::socket socket, ClientAddr client) {
        const auto destination = net::original_dst(socket.native_handle());
        // A connection to the listener's own address was not redirected by BPF: somebody found the
        // port. Dialling its "original destination" would be weir calling itself.
        if (!destination || !own || destination->value == own->value) {
          x_service.context().worker.metrics().connections_refused.add();
          return;
        }
        SessionContext& context = x_service.context();
        const auto [server, source] =
            onward(context.worker, context.redirector, client, *destination, IPPROTO_TCP);
        TcpFlow flow;
        flow.client = client;
        flow.destination = server;
        flow.port = server.value.port;
        flow.asked = destination->value;
        flow.source = source;
        auto gate = std::make_unique<PolicyGate>(context.worker, context.fqdn_cache, client, server,
                                                 IPPROTO_TCP);
        x_service.serve(std::move(socket), flow, std::move(gate), Spoken::kByPolicy);
      }));
}

} // namespace weir::session
