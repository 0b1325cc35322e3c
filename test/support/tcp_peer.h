// A TCP socket of a test (peer_socket.h). Errors: thrown, std::system_error or std::runtime_error.
#pragma once

#include "proxy/base/ip.h"
#include "test/support/must.h"
#include "test/support/peer_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::test {

class TcpPeer : public PeerSocket {
public:
  using PeerSocket::PeerSocket;
  // `from`: the address to come from, by default the kernel's choice.
  static TcpPeer connect_to(const SocketAddress& to, std::optional<IpAddress> from = {}) {
    TcpPeer peer(SOCK_STREAM, to.ip);
    if (from) {
      const int on = 1; // the port is chosen at connect, when the whole tuple is known
      must(::setsockopt(peer.fd(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0,
           "IP_BIND_ADDRESS_NO_PORT");
      peer.bind({*from, 0});
    }
    peer.connect(to);
    return peer;
  }
  // A listening socket on a port of the kernel's choice.
  static TcpPeer listening(std::string_view ip) {
    const SocketAddress at{*IpAddress::parse(ip), 0};
    TcpPeer peer(SOCK_STREAM, at.ip);
    peer.bind(at);
    peer.listen();
    return peer;
  }
  [[nodiscard]] TcpPeer accept() const { return TcpPeer(accept_one()); }

  void reset() { // closes with a reset
    const linger now{1, 0};
    must(::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0, "SO_LINGER");
    close();
  }
  void end() { must(::shutdown(fd(), SHUT_WR) == 0, "shutdown"); }

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
};

} // namespace weir::test
