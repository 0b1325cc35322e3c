// Sends UDP answers in the name of the server that a pod asked.
//
// A raw socket, not a UDP socket bound to that server's address and port: where the server runs on
// this very node (a node-local cache), such a socket would share the server's port with it and
// take datagrams that are meant for it. This one is bound to an address that nothing is sent to,
// so that it receives nothing. Needs CAP_NET_RAW, and CAP_NET_ADMIN for IP_TRANSPARENT.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "proxy/dns/message.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace weir::session {

struct DnsReply {
  SocketAddress from, to;
  dns::Bytes message;
};

class DnsReplySocket {
public:
  static Result<DnsReplySocket> open(bool v6);

  // Addresses of the socket's family. What the kernel does not take is lost: the client asks again.
  // Gives the number that it took.
  std::size_t send(std::span<const DnsReply> replies);

private:
  explicit DnsReplySocket(UniqueFd fd) : x_fd(std::move(fd)) {}

  UniqueFd x_fd;
};

// As send() above, over an ordinary UDP socket on the server's own address.
std::size_t send_replies(int fd, std::span<const DnsReply> replies);

// RFC 768, over the pseudo-header of the addresses' family: of a header of 8 bytes, whose own
// checksum field is taken as it stands, and what follows it.
[[nodiscard]] std::uint16_t udp_checksum(const IpAddress& from, const IpAddress& to,
                                         dns::BytesView header, dns::BytesView message);

} // namespace weir::session
