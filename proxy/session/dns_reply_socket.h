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

#include <sys/socket.h>

#include <cstdint>
#include <utility>

namespace weir::session {

class DnsReplySocket {
public:
  static Result<DnsReplySocket> open(bool v6);

  // Both of the socket's family. False when the kernel does not take it: the client asks again.
  bool send(const SocketAddress& from, const SocketAddress& to, dns::BytesView message);

private:
  explicit DnsReplySocket(UniqueFd fd) : x_fd(std::move(fd)) {}

  UniqueFd x_fd;
};

// RFC 768, over the pseudo-header of the addresses' family. The datagram's own checksum field is
// taken as it stands.
[[nodiscard]] std::uint16_t udp_checksum(const IpAddress& from, const IpAddress& to,
                                         dns::BytesView datagram);

// Makes the message leave from that address: header.msg_control has room for an in6_pktinfo, and
// its length is set to what is used.
void set_source(msghdr& header, const IpAddress& from);

} // namespace weir::session
