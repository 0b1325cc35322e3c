// A socket that listens inside a namespace, for servers that tests write themselves.
#pragma once

#include "proxy/base/unique_fd.h"
#include "test/support/must.h"
#include "test/support/netns.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

namespace weir::test {

// On all addresses of both families, not blocking. Throws what the kernel says.
inline UniqueFd listening_socket(const NetNs& where, std::uint16_t port, int backlog) {
  return where.on_thread([port, backlog] {
    UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(port);
    must(fd.valid() && ::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0 &&
             ::listen(fd.get(), backlog) == 0,
         "listen");
    return fd;
  });
}

} // namespace weir::test
