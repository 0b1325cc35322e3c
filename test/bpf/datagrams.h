// What pod A of a SmallNode may send to the world by a policy that allows port 53 of UDP alone, and
// whether what it sends arrives.
#pragma once

#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>

namespace weir::test {

inline const std::array kDnsOnly{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)};

inline bool has_arrived(int socket) {
  char byte = 0;
  return ::recv(socket, &byte, 1, MSG_DONTWAIT) == 1;
}

// Port 53 is allowed, 54 is not.
struct Datagrams {
  explicit Datagrams(const SmallNode& lab)
      : allowed(bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 53))),
        denied(bound_socket(lab.world, SOCK_DGRAM, at("192.0.2.9", 54))),
        client(bound_socket(lab.a, SOCK_DGRAM, at("10.1.0.1", 5000))) {}

  void send(std::uint16_t port) const {
    sockaddr_storage storage;
    const SocketAddress to = at("192.0.2.9", port);
    const socklen_t length = to.to_sockaddr(storage);
    REQUIRE(::sendto(client.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&storage), length) == 1);
  }
  // What is denied before what is allowed: had it not been dropped, it would have arrived by then.
  void check(bool enforced) const {
    send(54);
    send(53);
    CHECK(wait_for(allowed.get(), POLLIN));
    CHECK(receive_text(allowed.get()) == "x");
    CHECK(has_arrived(denied.get()) != enforced);
  }

  UniqueFd allowed, denied, client;
};

} // namespace weir::test
