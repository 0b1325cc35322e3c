// A blocking socket in the hands of a test, which plays a client or a server against code that runs
// on another thread. Waiting is bounded by a time-out that only a failing test reaches. Thread:
// any, one at a time for each way. Errors: thrown, std::system_error.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/unique_fd.h"
#include "test/support/must.h"

#include <sys/socket.h>
#include <sys/time.h>

namespace weir::test {

class PeerSocket {
public:
  explicit PeerSocket(int fd) : x_fd(fd) {
    must(x_fd.valid(), "a socket");
    const timeval patience{20, 0};
    must(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
  }
  // For addresses of the family of `like`.
  PeerSocket(int type, const IpAddress& like)
      : PeerSocket(::socket(like.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0)) {}

  [[nodiscard]] int fd() const { return x_fd.get(); }
  int release() { return x_fd.release(); }
  void close() { x_fd.reset(); }
  [[nodiscard]] SocketAddress address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    must(::getsockname(fd(), reinterpret_cast<sockaddr*>(&storage), &length) == 0, "getsockname");
    return SocketAddress::from_sockaddr(storage);
  }

protected:
  void bind(const SocketAddress& at) const {
    sockaddr_storage storage{};
    const socklen_t length = at.to_sockaddr(storage);
    must(::bind(fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "bind");
  }
  void listen() const { must(::listen(fd(), 16) == 0, "listen"); }
  void connect(const SocketAddress& to) const {
    sockaddr_storage storage{};
    const socklen_t length = to.to_sockaddr(storage);
    must(::connect(fd(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "connect");
  }
  [[nodiscard]] int accept_one() const { return ::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC); }

private:
  UniqueFd x_fd;
};

} // namespace weir::test
