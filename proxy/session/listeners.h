// The TCP listeners of one worker: they find out about each accepted connection what policy needs
// to know, and hand it to the worker's TcpService.
//
// Opened before the worker's thread starts; start() and stop() on that thread. A listener outlives
// the worker's gate.
#pragma once

#include "proxy/base/result.h"
#include "proxy/config/config.h"
#include "proxy/session/tcp_session.h"

#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace weir::session {

// Fixed address, fixed upstream (DESIGN §9). Each worker opens one for the same configuration.
class StaticListener {
public:
  // The service and the configuration outlive the listener.
  static Result<std::unique_ptr<StaticListener>> open(TcpService& service,
                                                      const config::StaticListener& options);

  void start();
  // No connection is accepted any more.
  void stop();
  // With the port that the kernel chose, where the configuration says 0.
  [[nodiscard]] ListenAddr address() const { return x_address; }

private:
  StaticListener(TcpService& service, const config::StaticListener& options, ListenAddr address);

  TcpService& x_service;
  const config::StaticListener& x_options;
  ListenAddr x_address;
  boost::asio::ip::tcp::acceptor x_acceptor;
};

// For flows that BPF hands over, IPv4 and IPv6.
class TransparentListeners {
public:
  static Result<std::unique_ptr<TransparentListeners>> open(TcpService& service);

  void start();
  void stop();
  // Listening sockets for redirect::WorkerListeners; owned by this.
  [[nodiscard]] int tcp4() { return x_tcp4.native_handle(); }
  [[nodiscard]] int tcp6() { return x_tcp6.native_handle(); }

private:
  explicit TransparentListeners(TcpService& service);
  void accept_from(boost::asio::ip::tcp::acceptor& acceptor);

  TcpService& x_service;
  boost::asio::ip::tcp::acceptor x_tcp4, x_tcp6;
};

} // namespace weir::session
