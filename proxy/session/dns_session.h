// DNS over UDP: a socket on which queries arrive. Each worker has its own, and reads them by turns.
//
//   transparent  bound to loopback and a port of the kernel's choice; BPF assigns the pods'
//                datagrams to it, and they tell the server that the pod asked
//                (IP_RECVORIGDSTADDR); answers come from that server's address and port
//   static       bound to a fixed address with SO_REUSEPORT; everything goes to one upstream;
//                answers come from the address that was asked (IP_PKTINFO)
//
// A datagram that is no query is never answered. Used on the worker's thread; outlives its gate.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "proxy/session/dns_reply_socket.h"
#include "proxy/session/dns_service.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/udp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace weir::session {

// Whose policy judges what this client asks that server.
using DnsPolicyOf = std::function<std::shared_ptr<DnsPolicy>(ClientAddr, OriginalDst)>;

class DnsListener final : public DnsClient {
public:
  // The service outlives the listeners. So many, each on a port of its own, so that whom BPF gives
  // one of them loses nothing to a flood on another. Needs CAP_NET_ADMIN and CAP_NET_RAW.
  static Result<std::vector<std::unique_ptr<DnsListener>>>
  open_transparent(DnsService& service, bool v6, std::size_t count, const DnsPolicyOf& policy_of);
  // Port 0: ask local() and give the same port to the next worker.
  static Result<std::unique_ptr<DnsListener>> open_static(DnsService& service, ListenAddr address,
                                                          SocketAddress upstream,
                                                          DnsPolicyOf policy_of);

  // Serves until closed, or until the worker's gate, in which it is spawned, closes.
  boost::asio::awaitable<void> run();
  // No more queries are taken. The socket itself is closed when those in flight are answered,
  // which is soon: what comes to it until then is lost, and asked again.
  void close();

  void send(const SocketAddress& from, const SocketAddress& to, dns::BytesView answer) override;

  [[nodiscard]] int fd() { return x_socket.native_handle(); } // for the BPF map of listeners
  [[nodiscard]] const SocketAddress& local() const { return x_local; }

private:
  // Two queries of one client and server within a moment are judged by one object.
  struct Parties {
    IpAddress client;
    SocketAddress server;
    bool operator==(const Parties&) const = default;
  };
  struct PartiesHash {
    std::size_t operator()(const Parties& parties) const noexcept;
  };

  DnsListener(DnsService& service, UniqueFd fd, SocketAddress local,
              std::optional<SocketAddress> upstream, DnsPolicyOf policy_of);
  static Result<std::unique_ptr<DnsListener>> open(DnsService& service, UniqueFd fd,
                                                   std::optional<SocketAddress> upstream,
                                                   DnsPolicyOf policy_of);

  void receive_waiting();
  [[nodiscard]] Onward onward_of(ClientAddr client, OriginalDst asked) const;
  void serve(const SocketAddress& client, const SocketAddress& asked, dns::BytesView message);
  void renew_policies();
  std::shared_ptr<DnsPolicy> policy_for(ClientAddr client, OriginalDst server);
  void flush();
  void close_when_idle();

  DnsService& x_service;
  boost::asio::ip::udp::socket x_socket;
  const SocketAddress x_local;
  const std::optional<SocketAddress> x_upstream; // static only
  const DnsPolicyOf x_policy_of;
  std::shared_ptr<DnsReplySocket> x_reply_socket; // transparent only; of those opened together
  std::vector<DnsReply> x_replies;                // that leave together, x_reply_count of them
  std::size_t x_reply_count = 0;
  std::unordered_map<Parties, std::shared_ptr<DnsPolicy>, PartiesHash> x_policies;
  std::chrono::steady_clock::time_point x_policies_since;
  bool x_closing = false;
};

} // namespace weir::session
