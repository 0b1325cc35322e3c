// GET requests to the API server, one connection each: head first, then the body piece by piece,
// so that a watch can run for minutes and a list needs no more memory than its reader keeps.
// Knows HTTP and TLS; nothing of Kubernetes' objects.
//
// Control thread. What a method returns is to be awaited before the client or reply is destroyed.
#pragma once

#include "proxy/base/result.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace weir::endpoint::kubernetes {

class Reply {
public:
  virtual ~Reply() = default;
  unsigned status = 0;
  std::chrono::seconds retry_after{0}; // what the server asked for; at most 60
  // The next bytes of the body; empty at its end. A body that is cut short is an error.
  virtual boost::asio::awaitable<Result<std::string>> read() = 0;
};

class Client {
public:
  // `kubeconfig` as read_access() takes it.
  Client(boost::asio::io_context& context, std::string kubeconfig)
      : x_context(context), x_kubeconfig(std::move(kubeconfig)) {}

  // `silence`: the longest wait for the next byte.
  boost::asio::awaitable<Result<std::unique_ptr<Reply>>> get(std::string target,
                                                             std::chrono::seconds silence);

private:
  boost::asio::io_context& x_context;
  std::string x_kubeconfig;
};

} // namespace weir::endpoint::kubernetes
