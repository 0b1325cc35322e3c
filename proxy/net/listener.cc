#include "proxy/net/listener.h"

#include "proxy/base/log.h"
#include "proxy/net/address.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>

namespace weir::net {
namespace asio = boost::asio;

namespace {

// The kernel cuts it to net.core.somaxconn.
constexpr int kBacklog = 4096;
constexpr std::chrono::milliseconds kPause{50};

Result<void> set_option(int fd, int level, int option, const char* name) {
  const int on = 1;
  if (::setsockopt(fd, level, option, &on, sizeof on) < 0) {
    return errno_error(std::string("set ") + name);
  }
  return {};
}

Result<UniqueFd> open_socket(const SocketAddress& address) {
  const int family = address.ip.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (!fd.valid()) {
    return errno_error("open a TCP socket");
  }
  if (family == AF_INET6) {
    if (auto result = set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"); !result) {
      return result.error();
    }
  }
  return fd;
}

Result<UniqueFd> bind_and_listen(UniqueFd fd, const SocketAddress& address) {
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) < 0) {
    return errno_error("bind " + address.to_string());
  }
  if (::listen(fd.get(), kBacklog) < 0) {
    return errno_error("listen on " + address.to_string());
  }
  return fd;
}

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0) {
    return errno_error("ask for a socket's own address");
  }
  return SocketAddress::from_sockaddr(storage);
}

bool out_of_resources(const boost::system::error_code& error) {
  return error == asio::error::no_descriptors || error == asio::error::no_buffer_space ||
         error == asio::error::no_memory || error.value() == ENFILE;
}

} // namespace

Result<UniqueFd> open_transparent_listener(Family family) {
  const bool v4 = family == Family::kV4;
  const SocketAddress address{*IpAddress::parse(v4 ? "127.0.0.1" : "::1"), 0};
  auto fd = open_socket(address);
  if (!fd) {
    return fd;
  }
  const auto transparent =
      v4 ? set_option(fd->get(), IPPROTO_IP, IP_TRANSPARENT, "IP_TRANSPARENT")
         : set_option(fd->get(), IPPROTO_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT");
  if (!transparent) {
    return transparent.error();
  }
  // What is accepted inherits it. Between joined sockets an urgent byte is one like others; so that
  // a connection does not say something else where they are not joined, it is one everywhere.
  if (auto result = set_option(fd->get(), SOL_SOCKET, SO_OOBINLINE, "SO_OOBINLINE"); !result) {
    return result.error();
  }
  return bind_and_listen(std::move(*fd), address);
}

Result<UniqueFd> open_static_listener(const ListenAddr& address) {
  auto fd = open_socket(address.value);
  if (!fd) {
    return fd;
  }
  for (const auto& [option, name] :
       {std::pair{SO_REUSEADDR, "SO_REUSEADDR"}, std::pair{SO_REUSEPORT, "SO_REUSEPORT"}}) {
    if (auto result = set_option(fd->get(), SOL_SOCKET, option, name); !result) {
      return result.error();
    }
  }
  return bind_and_listen(std::move(*fd), address.value);
}

Result<ListenAddr> bound_address(int fd) {
  auto address = local_address(fd);
  if (!address) {
    return address.error();
  }
  return ListenAddr{*address};
}

Result<OriginalDst> original_dst(int accepted) {
  auto address = local_address(accepted);
  if (!address) {
    return address.error();
  }
  return OriginalDst{*address};
}

asio::awaitable<void>
accept_loop(asio::ip::tcp::acceptor& acceptor,
            std::function<void(asio::ip::tcp::socket, ClientAddr)> on_accept) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer pause(executor);
  for (;;) {
    asio::ip::tcp::socket socket(executor);
    asio::ip::tcp::endpoint client;
    auto [error] = co_await acceptor.async_accept(socket, client, asio::as_tuple(asio::deferred));
    if (!error) {
      on_accept(std::move(socket), ClientAddr{from_asio(client)});
      continue;
    }
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) {
      co_return;
    }
    if (out_of_resources(error)) {
      log::warning("accept: {}; pausing", error.message());
      pause.expires_after(kPause);
      std::tie(error) = co_await pause.async_wait(asio::as_tuple(asio::deferred));
      if (error) {
        co_return;
      }
    }
    // Anything else concerns the one connection that failed before it was accepted.
  }
}

} // namespace weir::net
