#include "proxy/session/dns_session.h"

#include "proxy/base/check.h"
#include "proxy/base/unique_fd.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/this_coro.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::udp;

namespace {

// Others get their turn after this many.
constexpr int kMaxDatagramsAtOnce = 64;

struct Option {
  int level, name, value;
  const char* text;
};

Result<UniqueFd> open_bound(const SocketAddress& address, std::initializer_list<Option> options) {
  UniqueFd fd(::socket(address.ip.is_v4() ? AF_INET : AF_INET6,
                       SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return errno_error("open a UDP socket");
  }
  for (const Option& option : options) {
    if (::setsockopt(fd.get(), option.level, option.name, &option.value, sizeof option.value) !=
        0) {
      return errno_error(std::string("set ") + option.text);
    }
  }
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return errno_error("bind UDP " + address.to_string());
  }
  return fd;
}

template <typename T>
T control_data(const cmsghdr& header) {
  T data;
  std::memcpy(&data, CMSG_DATA(&header), sizeof data);
  return data;
}

// Where the datagram was sent to, by whichever of the options was set.
std::optional<SocketAddress> destination_of(msghdr& message, std::uint16_t port) {
  sockaddr_storage storage{};
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_ORIGDSTADDR) {
      const auto address = control_data<sockaddr_in>(*at);
      std::memcpy(&storage, &address, sizeof address);
      return SocketAddress::from_sockaddr(storage);
    }
    if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_ORIGDSTADDR) {
      const auto address = control_data<sockaddr_in6>(*at);
      std::memcpy(&storage, &address, sizeof address);
      return SocketAddress::from_sockaddr(storage);
    }
    if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
      const auto info = control_data<in_pktinfo>(*at);
      std::uint8_t bytes[4];
      std::memcpy(bytes, &info.ipi_addr, sizeof bytes);
      return SocketAddress{IpAddress::from_v4(bytes), port};
    }
    if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
      const auto info = control_data<in6_pktinfo>(*at);
      IpAddress::Bytes bytes;
      std::memcpy(bytes.data(), &info.ipi6_addr, bytes.size());
      return SocketAddress{IpAddress(bytes), port};
    }
  }
  return std::nullopt;
}

} // namespace

Result<std::unique_ptr<DnsListener>> DnsListener::open_transparent(DnsService& service, bool v6,
                                                                   DnsPolicyOf policy_of) {
  const auto loopback = IpAddress::parse(v6 ? "::1" : "127.0.0.1");
  WEIR_CHECK(loopback.has_value());
  auto reply_socket = DnsReplySocket::open(v6);
  if (!reply_socket) {
    return reply_socket.error();
  }
  auto fd =
      v6 ? open_bound({*loopback, 0},
                      {{IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
                       {IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"},
                       {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR"}})
         : open_bound({*loopback, 0}, {{IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"},
                                       {IPPROTO_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"}});
  if (!fd) {
    return fd.error();
  }
  auto listener = open(service, *std::move(fd), std::nullopt, std::move(policy_of));
  if (listener) {
    (*listener)->x_reply_socket = *std::move(reply_socket);
  }
  return listener;
}

Result<std::unique_ptr<DnsListener>> DnsListener::open_static(DnsService& service,
                                                              ListenAddr address,
                                                              SocketAddress upstream,
                                                              DnsPolicyOf policy_of) {
  const Option shared{SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"};
  auto fd =
      address.value.ip.is_v4()
          ? open_bound(address.value, {shared, {IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"}})
          : open_bound(address.value, {shared,
                                       {IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
                                       {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"}});
  if (!fd) {
    return fd.error();
  }
  return open(service, *std::move(fd), upstream, std::move(policy_of));
}

Result<std::unique_ptr<DnsListener>> DnsListener::open(DnsService& service, UniqueFd fd,
                                                       std::optional<SocketAddress> upstream,
                                                       DnsPolicyOf policy_of) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return errno_error("ask for a socket's own address");
  }
  return std::unique_ptr<DnsListener>(new DnsListener(service, std::move(fd),
                                                      SocketAddress::from_sockaddr(storage),
                                                      upstream, std::move(policy_of)));
}

DnsListener::DnsListener(DnsService& service, UniqueFd fd, SocketAddress local,
                         std::optional<SocketAddress> upstream, DnsPolicyOf policy_of)
    : x_service(service), x_socket(service.worker().context()), x_local(local),
      x_upstream(upstream), x_policy_of(std::move(policy_of)) {
  x_socket.assign(local.ip.is_v4() ? udp::v4() : udp::v6(), fd.release());
}

asio::awaitable<void> DnsListener::run() {
  co_await asio::this_coro::throw_if_cancelled(false);
  for (;;) {
    const auto [error] =
        co_await x_socket.async_wait(udp::socket::wait_read, asio::as_tuple(asio::deferred));
    if (error || x_closing || x_service.worker().gate().closed()) {
      co_return;
    }
    receive_waiting();
  }
}

void DnsListener::close() {
  x_closing = true;
  boost::system::error_code ignored;
  x_socket.cancel(ignored);
  close_when_idle();
}

void DnsListener::close_when_idle() {
  if (x_closing && x_in_flight == 0) {
    boost::system::error_code ignored;
    x_socket.close(ignored);
  }
}

void DnsListener::receive_waiting() {
  const auto buffer = x_service.scratch();
  for (int i = 0; i < kMaxDatagramsAtOnce; ++i) {
    sockaddr_storage source{};
    iovec data{buffer.data(), buffer.size()};
    alignas(cmsghdr) unsigned char control[128];
    msghdr header{};
    header.msg_name = &source;
    header.msg_namelen = sizeof source;
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(x_socket.native_handle(), &header, MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EAGAIN) {
        return;
      }
      continue;
    }
    const SocketAddress client = SocketAddress::from_sockaddr(source);
    const auto asked = destination_of(header, x_local.port);
    // Port 0 cannot be answered. A transparent listener's own address is nobody's server.
    if (!asked || client.port == 0 || (!x_upstream && *asked == x_local)) {
      x_service.worker().metrics().dns_malformed.add();
      continue;
    }
    serve({client, *asked, buffer.first(static_cast<std::size_t>(got))});
  }
}

void DnsListener::serve(const Datagram& datagram) {
  const ClientAddr client{datagram.client};
  OriginalDst server{x_upstream.value_or(datagram.asked)};
  if (!x_upstream && x_service.options().server_behind) {
    server.value =
        x_service.options().server_behind(datagram.client, datagram.asked).value_or(datagram.asked);
  }
  auto begun = x_service.begin({client, server, IPPROTO_UDP, !x_upstream.has_value()},
                               x_policy_of(client, server), datagram.message);
  if (!begun.answer.empty()) {
    reply(datagram.asked, datagram.client, begun.answer);
  }
  if (begun.ask != nullptr) {
    ++x_in_flight;
    x_service.worker().gate().spawn(finish(std::move(begun.ask), datagram.asked, datagram.client));
  }
}

asio::awaitable<void> DnsListener::finish(std::unique_ptr<DnsService::Ask> ask, SocketAddress from,
                                          SocketAddress to) {
  co_await asio::this_coro::throw_if_cancelled(false);
  const dns::Bytes answer = co_await x_service.finish(std::move(ask), nullptr);
  if (!answer.empty()) {
    reply(from, to, answer);
  }
  --x_in_flight;
  close_when_idle();
}

// UDP: what does not go out at once is lost, and asked for again.
void DnsListener::reply(const SocketAddress& from, const SocketAddress& to,
                        dns::BytesView message) {
  if (x_reply_socket) {
    x_reply_socket->send(from, to, message);
  } else {
    reply_from_here(from, to, message);
  }
}

void DnsListener::reply_from_here(const SocketAddress& from, const SocketAddress& to,
                                  dns::BytesView message) {
  sockaddr_storage storage{};
  iovec data{const_cast<std::uint8_t*>(message.data()), message.size()};
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  msghdr header{};
  header.msg_name = &storage;
  header.msg_namelen = to.to_sockaddr(storage);
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  set_source(header, from.ip);
  ::sendmsg(x_socket.native_handle(), &header, MSG_DONTWAIT);
}

} // namespace weir::session
