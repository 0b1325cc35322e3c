#include "proxy/session/dns_reply_socket.h"

#include "proxy/base/check.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

namespace weir::session {
namespace {

constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kMaxUdp = 65535;

std::uint64_t sum_of(dns::BytesView bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    sum += static_cast<std::uint64_t>(bytes[i] << 8 | bytes[i + 1]);
  }
  if (bytes.size() % 2 != 0) {
    sum += static_cast<std::uint64_t>(bytes.back()) << 8;
  }
  return sum;
}

dns::BytesView address_bytes(const IpAddress& address) {
  const dns::BytesView bytes(address.bytes());
  return address.is_v4() ? bytes.last(4) : bytes;
}

void put_u16(std::uint8_t* at, std::size_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value & 0xff);
}

} // namespace

std::uint16_t udp_checksum(const IpAddress& from, const IpAddress& to, dns::BytesView datagram) {
  std::uint64_t sum = sum_of(address_bytes(from)) + sum_of(address_bytes(to)) + IPPROTO_UDP +
                      datagram.size() + sum_of(datagram);
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  const auto checksum = static_cast<std::uint16_t>(~sum & 0xffff);
  return checksum == 0 ? 0xffff : checksum; // 0 would say that there is none
}

void set_source(msghdr& header, const IpAddress& from) {
  cmsghdr* source = CMSG_FIRSTHDR(&header);
  if (from.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, from.bytes().data() + 12, 4);
    source->cmsg_level = IPPROTO_IP;
    source->cmsg_type = IP_PKTINFO;
    source->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(source), &info, sizeof info);
    header.msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, from.bytes().data(), 16);
    source->cmsg_level = IPPROTO_IPV6;
    source->cmsg_type = IPV6_PKTINFO;
    source->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(source), &info, sizeof info);
    header.msg_controllen = CMSG_SPACE(sizeof info);
  }
}

Result<DnsReplySocket> DnsReplySocket::open(bool v6) {
  UniqueFd fd(
      ::socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP));
  if (!fd.valid()) {
    return errno_error("open a raw socket for DNS answers");
  }
  const int on = 1;
  if (::setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT,
                   &on, sizeof on) != 0) {
    return errno_error("make a raw socket transparent");
  }
  // 0.0.0.1 is in nobody's network (RFC 1122 §3.2.1.3), 100::/64 leads nowhere (RFC 6666).
  const std::uint8_t nowhere[4] = {0, 0, 0, 1};
  const auto address = v6 ? IpAddress::parse("100::1") : IpAddress::from_v4(nowhere);
  WEIR_CHECK(address.has_value());
  sockaddr_storage storage{};
  const socklen_t length = SocketAddress{*address, 0}.to_sockaddr(storage);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return errno_error("bind a raw socket to " + address->to_string());
  }
  return DnsReplySocket(std::move(fd));
}

bool DnsReplySocket::send(const SocketAddress& from, const SocketAddress& to,
                          dns::BytesView message) {
  if (from.ip.is_v4() != to.ip.is_v4() || message.size() + kUdpHeader > kMaxUdp) {
    return false;
  }
  dns::Bytes datagram(kUdpHeader + message.size());
  put_u16(datagram.data(), from.port);
  put_u16(datagram.data() + 2, to.port);
  put_u16(datagram.data() + 4, datagram.size());
  std::memcpy(datagram.data() + kUdpHeader, message.data(), message.size());
  put_u16(datagram.data() + 6, udp_checksum(from.ip, to.ip, datagram));

  sockaddr_storage storage{};
  // Port 0: on a raw socket the field means the protocol, or nothing.
  const socklen_t length = SocketAddress{to.ip, 0}.to_sockaddr(storage);
  iovec data{datagram.data(), datagram.size()};
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  msghdr header{};
  header.msg_name = &storage;
  header.msg_namelen = length;
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  set_source(header, from.ip);
  return ::sendmsg(x_fd.get(), &header, MSG_DONTWAIT) == static_cast<ssize_t>(datagram.size());
}

} // namespace weir::session
