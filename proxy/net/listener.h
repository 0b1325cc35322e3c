// Listening sockets and the loop that accepts from them. Knows nothing of what is then spoken.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <functional>

namespace weir::net {

enum class Family : std::uint8_t { kV4, kV6 };

// For flows that BPF assigns: on the loopback address and a port of the kernel's choice, with
// IP_TRANSPARENT so that it takes connections to any address. Not SO_REUSEPORT: the kernel would
// choose anew among the group and undo BPF's choice of the worker. Needs CAP_NET_ADMIN.
Result<UniqueFd> open_transparent_listener(Family family);

// On a fixed address; each worker opens one, and SO_REUSEPORT shares the connections out. Port 0:
// ask bound_address() and give the same port to the next worker.
Result<UniqueFd> open_static_listener(const ListenAddr& address);

Result<ListenAddr> bound_address(int fd);

// The address that the client of an accepted socket meant to reach. For flows redirected by
// bpf_sk_assign it is the socket's own local address.
Result<OriginalDst> original_dst(int accepted);

// Accepts until cancelled, on_accept gets each connection. Out of descriptors or memory, it pauses
// and leaves connections in the kernel's queue. The acceptor outlives it.
boost::asio::awaitable<void>
accept_loop(boost::asio::ip::tcp::acceptor& acceptor,
            std::function<void(boost::asio::ip::tcp::socket, ClientAddr)> on_accept);

} // namespace weir::net
