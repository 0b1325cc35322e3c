#include "proxy/session/dns_upstream.h"

#include "proxy/base/check.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>

namespace weir::session {
namespace {

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

} // namespace

std::uint16_t DnsIds::next() {
  if (x_left == 0) {
    std::size_t filled = 0;
    const auto bytes = std::as_writable_bytes(std::span(x_random));
    while (filled < bytes.size()) {
      const ssize_t got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
      WEIR_CHECK(got > 0 || errno == EINTR);
      filled += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    x_left = x_random.size();
  }
  return x_random[--x_left];
}

Result<UniqueFd> open_upstream_socket(const DnsFlow& flow, int type) {
  const bool v4 = flow.server.value.ip.is_v4();
  UniqueFd fd(::socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return errno_error("socket");
  }
  if (!flow.source) {
    return fd;
  }
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (!set_option(fd.get(), level, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1) ||
      !set_option(fd.get(), SOL_SOCKET, SO_MARK, WEIR_MARK_FROM_PROXY)) {
    return errno_error("IP_TRANSPARENT, SO_MARK");
  }
  // TCP: the port is chosen with the destination in mind, so that they do not run out.
  if (type == SOCK_STREAM && !set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)) {
    return errno_error("IP_BIND_ADDRESS_NO_PORT");
  }
  sockaddr_storage source{};
  const socklen_t length = SocketAddress{*flow.source, 0}.to_sockaddr(source);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&source), length) != 0) {
    return errno_error("bind " + flow.source->to_string());
  }
  return fd;
}

} // namespace weir::session
