// Host names of weir's own peers → addresses, by c-ares: the servers and the hosts file of the
// machine, each server asked for a bounded time. Not for what pods ask (proxy/dns), and never
// getaddrinfo(), which blocks a thread for as long as it likes.
//
// Thread: the one that runs the context; the object outlives no run of it, but look-ups may be
// under way when it goes: they end with operation_aborted.
#pragma once

#include "proxy/base/error.h"
#include "proxy/base/ip.h"
#include "proxy/base/result.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace weir::net {

class Resolver {
public:
  struct Options {
    std::string servers = {}; // "192.0.2.1,[2001:db8::1]:53"; empty: as resolv.conf says
    std::chrono::milliseconds patience{2000}; // for a server's answer, the first time
    int tries = 2;
  };
  static Result<std::unique_ptr<Resolver>> open(boost::asio::io_context& context,
                                                const Options& options);
  static Result<std::unique_ptr<Resolver>> open(boost::asio::io_context& context) {
    return open(context, Options());
  }
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // At least one address, in the order of RFC 6724. An address in text is its own answer.
  boost::asio::awaitable<Result<std::vector<IpAddress>>> resolve(std::string name);

private:
  class Channel;
  explicit Resolver(std::shared_ptr<Channel> channel) : x_channel(std::move(channel)) {}
  std::shared_ptr<Channel> x_channel;
};

} // namespace weir::net
