// A blocking TCP socket in the hands of a test: plays a client or a server against code that runs
// on another thread. Waiting is bounded by a time-out that only a failing test reaches. Thread:
// any, one at a time for each way. Errors: thrown, std::system_error or std::runtime_error.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/unique_fd.h"
#include "test/support/must.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::test {

class TcpPeer {
public:
  explicit TcpPeer(int fd) : x_fd(fd) {
    must(x_fd.valid(), "a socket");
    const timeval patience{20, 0};
    must(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
  }
  // `from`: the address to come from, by default the kernel's choice.
  static TcpPeer connect_to(const SocketAddress& to, std::optional<IpAddress> from = {}) {
    TcpPeer peer(::socket(to.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    if (from) {
      const int on = 1; // the port is chosen at connect, when the whole tuple is known
      must(::setsockopt(peer.fd(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0,
           "IP_BIND_ADDRESS_NO_PORT");
      const socklen_t length = SocketAddress{*from, 0}.to_sockaddr(storage);
      must(::bind(peer.fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "bind");
    }
    const socklen_t length = to.to_sockaddr(storage);
    must(::connect(peer.fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "connect");
    return peer;
  }
  // A listening socket on a port of the kernel's choice.
  static TcpPeer listening(std::string_view ip) {
    const SocketAddress at{*IpAddress::parse(ip), 0};
    TcpPeer peer(::socket(at.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const socklen_t length = at.to_sockaddr(storage);
    must(::bind(peer.fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "bind");
    must(::listen(peer.fd(), 16) == 0, "listen");
    return peer;
  }

  [[nodiscard]] int fd() const { return x_fd.get(); }
  int release() { return x_fd.release(); }
  void close() { x_fd.reset(); }
  void reset() { // closes with a reset
    const linger now{1, 0};
    must(::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0, "SO_LINGER");
    close();
  }
  void end() { must(::shutdown(fd(), SHUT_WR) == 0, "shutdown"); }
  [[nodiscard]] SocketAddress address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    must(::getsockname(fd(), reinterpret_cast<sockaddr*>(&storage), &length) == 0, "getsockname");
    return SocketAddress::from_sockaddr(storage);
  }
  [[nodiscard]] TcpPeer accept() const {
    return TcpPeer(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  void send(std::string_view bytes) {
    const ssize_t sent = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    must(sent == static_cast<ssize_t>(bytes.size()), "send");
  }
  std::string read(std::size_t size) {
    std::string bytes(size, '\0');
    const ssize_t got = ::recv(fd(), bytes.data(), size, MSG_WAITALL);
    must(got >= 0, "recv");
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }
  std::string read_until(std::string_view end) {
    std::string bytes;
    while (!bytes.ends_with(end)) {
      const std::string byte = read(1);
      if (byte.empty()) {
        throw std::runtime_error("the connection ended after \"" + bytes + "\"");
      }
      bytes += byte;
    }
    return bytes;
  }
  // How the connection ended: "end", "reset", or what came instead.
  std::string ending() {
    char byte;
    const ssize_t got = ::recv(fd(), &byte, 1, 0);
    if (got > 0) {
      return "bytes";
    }
    return got == 0 ? "end" : errno == ECONNRESET ? "reset" : "timeout";
  }

private:
  UniqueFd x_fd;
};

} // namespace weir::test
