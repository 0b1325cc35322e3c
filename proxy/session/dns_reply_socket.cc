#include "proxy/session/dns_reply_socket.h"

#include "proxy/base/check.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
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

// One message for sendmmsg(), with everything that its header points to.
class Outgoing {
public:
  void set(const DnsReply& reply, bool raw, msghdr& header) {
    // Port 0: on a raw socket the field means the protocol, or nothing.
    header = {};
    header.msg_namelen =
        SocketAddress{reply.to.ip, raw ? std::uint16_t{0} : reply.to.port}.to_sockaddr(x_to);
    header.msg_name = &x_to;
    header.msg_iov = x_data.data();
    if (raw) {
      put_u16(x_udp.data(), reply.from.port);
      put_u16(x_udp.data() + 2, reply.to.port);
      put_u16(x_udp.data() + 4, kUdpHeader + reply.message.size());
      put_u16(x_udp.data() + 6, 0);
      put_u16(x_udp.data() + 6, udp_checksum(reply.from.ip, reply.to.ip, x_udp, reply.message));
      x_data[header.msg_iovlen++] = {x_udp.data(), x_udp.size()};
    }
    x_data[header.msg_iovlen++] = {const_cast<std::uint8_t*>(reply.message.data()),
                                   reply.message.size()};
    header.msg_control = x_control.data();
    header.msg_controllen = x_control.size();
    set_source(header, reply.from.ip);
  }

private:
  // Makes the message leave from that address.
  static void set_source(msghdr& header, const IpAddress& from) {
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

  sockaddr_storage x_to{};
  std::array<std::uint8_t, kUdpHeader> x_udp{};
  std::array<iovec, 2> x_data{};
  alignas(cmsghdr) std::array<unsigned char, CMSG_SPACE(sizeof(in6_pktinfo))> x_control{};
};

std::size_t send_all(int fd, std::span<const DnsReply> replies, bool raw) {
  constexpr std::size_t kAtOnce = 32;
  std::array<Outgoing, kAtOnce> outgoing;
  std::array<mmsghdr, kAtOnce> headers{};
  std::size_t taken = 0;
  while (!replies.empty()) {
    unsigned count = 0;
    for (; count < kAtOnce && !replies.empty(); replies = replies.subspan(1)) {
      const DnsReply& reply = replies.front();
      if (reply.from.ip.is_v4() == reply.to.ip.is_v4() &&
          reply.message.size() + kUdpHeader <= kMaxUdp) {
        outgoing[count].set(reply, raw, headers[count].msg_hdr);
        ++count;
      }
    }
    for (unsigned at = 0; at < count;) {
      const int sent = ::sendmmsg(fd, headers.data() + at, count - at, MSG_DONTWAIT);
      if (sent < 0 && errno == EAGAIN) {
        return taken;
      }
      // One that cannot be sent must not stand in the others' way.
      at += sent > 0 ? static_cast<unsigned>(sent) : 1;
      taken += sent > 0 ? static_cast<std::size_t>(sent) : 0;
    }
  }
  return taken;
}

} // namespace

std::uint16_t udp_checksum(const IpAddress& from, const IpAddress& to, dns::BytesView header,
                           dns::BytesView message) {
  std::uint64_t sum = sum_of(address_bytes(from)) + sum_of(address_bytes(to)) + IPPROTO_UDP +
                      header.size() + message.size() + sum_of(header) + sum_of(message);
  while (sum >> 16 != 0) {
    sum = (sum & 0xffff) + (sum >> 16);
  }
  const auto checksum = static_cast<std::uint16_t>(~sum & 0xffff);
  return checksum == 0 ? 0xffff : checksum; // 0 would say that there is none
}

std::size_t send_replies(int fd, std::span<const DnsReply> replies) {
  return send_all(fd, replies, false);
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

std::size_t DnsReplySocket::send(std::span<const DnsReply> replies) {
  return send_all(x_fd.get(), replies, true);
}

} // namespace weir::session
