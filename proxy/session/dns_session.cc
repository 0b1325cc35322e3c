#include "proxy/session/dns_session.h"

#include "proxy/base/check.h"
#include "proxy/base/unique_fd.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;
using asio::ip::udp;

namespace {

constexpr std::size_t kBatch = 32;
// Others get their turn after this many.
constexpr int kMaxBatchesAtOnce = 4;
// Far more than any query needs; what is larger is dropped.
constexpr std::size_t kMaxQuery = 16 * 1024;
// Room for a burst while the worker is busy: some thousand queries. A node has many such sockets.
constexpr int kReceiveBuffer = 1 << 20;

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
  // As much as the system's limits allow.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) !=
      0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
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

Result<std::vector<std::unique_ptr<DnsListener>>>
DnsListener::open_transparent(DnsService& service, bool v6, std::size_t count,
                              const DnsPolicyOf& policy_of) {
  const auto loopback = IpAddress::parse(v6 ? "::1" : "127.0.0.1");
  WEIR_CHECK(loopback.has_value());
  auto reply_socket = DnsReplySocket::open(v6);
  if (!reply_socket) {
    return reply_socket.error();
  }
  const auto shared = std::make_shared<DnsReplySocket>(*std::move(reply_socket));
  std::vector<std::unique_ptr<DnsListener>> listeners;
  while (listeners.size() < count) {
    auto fd = v6 ? open_bound({*loopback, 0},
                              {{IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
                               {IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"},
                               {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1, "IPV6_RECVORIGDSTADDR"}})
                 : open_bound({*loopback, 0},
                              {{IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"},
                               {IPPROTO_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR"}});
    if (!fd) {
      return fd.error();
    }
    auto listener = open(service, *std::move(fd), std::nullopt, policy_of);
    if (!listener) {
      return listener.error();
    }
    (*listener)->x_reply_socket = shared;
    listeners.push_back(*std::move(listener));
  }
  return listeners;
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
  if (x_closing && x_reply_count == 0 && !x_service.has_pending(*this)) {
    boost::system::error_code ignored;
    x_socket.close(ignored);
  }
}

void DnsListener::receive_waiting() {
  std::array<sockaddr_storage, kBatch> sources;
  std::array<iovec, kBatch> data;
  struct Control {
    alignas(cmsghdr) unsigned char bytes[128];
  };
  std::array<Control, kBatch> controls;
  std::array<mmsghdr, kBatch> headers;
  // Shared by all listeners of the worker: what a query needs for longer is copied.
  std::vector<std::uint8_t>& buffers = x_service.receive_buffers();
  buffers.resize(kBatch * kMaxQuery);
  for (int turn = 0; turn < kMaxBatchesAtOnce; ++turn) {
    renew_policies();
    for (std::size_t i = 0; i < kBatch; ++i) {
      data[i] = {buffers.data() + i * kMaxQuery, kMaxQuery};
      headers[i] = {};
      msghdr& header = headers[i].msg_hdr;
      header.msg_name = &sources[i];
      header.msg_namelen = sizeof sources[i];
      header.msg_iov = &data[i];
      header.msg_iovlen = 1;
      header.msg_control = controls[i].bytes;
      header.msg_controllen = sizeof controls[i].bytes;
    }
    const int got =
        ::recvmmsg(x_socket.native_handle(), headers.data(), kBatch, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < got; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const SocketAddress client = SocketAddress::from_sockaddr(sources[at]);
      const auto asked = destination_of(headers[at].msg_hdr, x_local.port);
      // Port 0 cannot be answered. A transparent listener's own address is nobody's server.
      if (!asked || client.port == 0 || (headers[at].msg_hdr.msg_flags & MSG_TRUNC) != 0 ||
          (!x_upstream && *asked == x_local)) {
        x_service.worker().metrics().dns_malformed.add();
        continue;
      }
      serve(client, *asked, dns::BytesView(buffers).subspan(at * kMaxQuery, headers[at].msg_len));
    }
    if (got < static_cast<int>(kBatch)) {
      return;
    }
  }
}

Onward DnsListener::onward_of(ClientAddr client, OriginalDst asked) const {
  if (x_upstream) {
    return {OriginalDst{*x_upstream}, std::nullopt};
  }
  const auto& redirected = x_service.options().onward;
  return redirected ? redirected(client, asked) : Onward{asked, client.value.ip};
}

void DnsListener::serve(const SocketAddress& client, const SocketAddress& asked,
                        dns::BytesView message) {
  const ClientAddr from{client};
  const auto [server, source] = onward_of(from, OriginalDst{asked});
  x_service.take({{from, server, IPPROTO_UDP, source}, policy_for(from, server), *this, asked},
                 message);
}

std::size_t DnsListener::PartiesHash::operator()(const Parties& parties) const noexcept {
  const std::hash<IpAddress> hash;
  return hash(parties.client) * 31 + hash(parties.server.ip) * 17 + parties.server.port;
}

// Policies follow a new snapshot by themselves, but not what was learned since.
void DnsListener::renew_policies() {
  constexpr std::chrono::seconds kMaxAge{1};
  constexpr std::size_t kMaxPolicies = 4096;
  const auto now = std::chrono::steady_clock::now();
  if (now - x_policies_since > kMaxAge || x_policies.size() >= kMaxPolicies) {
    x_policies.clear();
    x_policies_since = now;
  }
}

std::shared_ptr<DnsPolicy> DnsListener::policy_for(ClientAddr client, OriginalDst server) {
  auto& policy = x_policies[{client.value.ip, server.value}];
  if (policy == nullptr) {
    policy = x_policy_of(client, server);
  }
  return policy;
}

// Answers of one turn of the loop leave together.
void DnsListener::send(const SocketAddress& from, const SocketAddress& to, dns::BytesView answer) {
  if (answer.empty()) {
    return;
  }
  if (x_reply_count == 0) {
    boost::asio::post(x_socket.get_executor(), [this] { flush(); });
  }
  if (x_reply_count == x_replies.size()) {
    x_replies.emplace_back();
  }
  DnsReply& reply = x_replies[x_reply_count++];
  reply.from = from;
  reply.to = to;
  reply.message.assign(answer.begin(), answer.end());
}

// UDP: what does not go out at once is lost, and asked for again.
void DnsListener::flush() {
  const std::span<const DnsReply> replies(x_replies.data(), x_reply_count);
  if (x_reply_socket) {
    x_reply_socket->send(replies);
  } else if (x_socket.is_open()) {
    send_replies(x_socket.native_handle(), replies);
  }
  x_reply_count = 0;
  close_when_idle();
}

} // namespace weir::session
