// Real packets between namespaces: what only the kernel's stack can show.
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "test/bpf/packet_loss.h"
#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"
#include "test/support/temp_folder.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::test;
using redirect::PolicyRow;
using redirect::WorkerListeners;

namespace {

constexpr SocketOptions kListening{.transparent = true, .mark = 0};
constexpr SocketOptions kUpstream{.transparent = true, .mark = WEIR_MARK_FROM_PROXY};

PolicyRow egress(std::uint8_t protocol, std::uint16_t port, weir_verdict verdict) {
  return row(WEIR_EGRESS, WEIR_IDENTITY_ANY, protocol, port, verdict);
}

// The listening half of a proxy of one worker.
struct Listeners {
  explicit Listeners(const NetNs& node)
      : tcp4(tcp_listener(node, at("127.0.0.1", 0), kListening)),
        tcp6(tcp_listener(node, at("::1", 0), kListening)),
        udp4(bound_socket(node, SOCK_DGRAM, at("127.0.0.1", 0), kListening)),
        udp6(bound_socket(node, SOCK_DGRAM, at("::1", 0), kListening)) {}

  [[nodiscard]] WorkerListeners get() const {
    return {.tcp4 = tcp4.get(), .tcp6 = tcp6.get(), .udp4 = {udp4.get()}, .udp6 = {udp6.get()}};
  }
  [[nodiscard]] int tcp(bool v6) const { return v6 ? tcp6.get() : tcp4.get(); }
  [[nodiscard]] int udp(bool v6) const { return v6 ? udp6.get() : udp4.get(); }

  UniqueFd tcp4, tcp6, udp4, udp6;
};

void use(SmallNode& lab, const Listeners& listeners) {
  const std::array workers{listeners.get()};
  REQUIRE(lab.redirector->set_listeners(workers).has_value());
}

// A connection of the proxy's to `to`, as `as`.
UniqueFd dial(const NetNs& node, std::string_view as, const SocketAddress& to) {
  UniqueFd socket = bound_socket(node, SOCK_STREAM, at(as, 0), kUpstream);
  start_connect(socket.get(), to);
  REQUIRE(wait_for(socket.get(), POLLOUT));
  return socket;
}

bool nothing_arrived(int listener) {
  return ::accept(listener, nullptr, nullptr) < 0 && errno == EAGAIN;
}

// A socket under repair goes without a word to its peer: no FIN, no RST.
void vanish(UniqueFd& socket) {
  const int on = 1;
  REQUIRE(::setsockopt(socket.get(), SOL_TCP, TCP_REPAIR, &on, sizeof on) == 0);
  socket.reset();
}

} // namespace

TEST_CASE("a redirected connection reaches the listener, and the server sees the pod's address") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const Listeners listeners(lab.node);
  use(lab, listeners);
  for (const Addresses& addresses : kAddresses) {
    const bool v6 = addresses.v6;
    // Once to the world, and once to a pod on the same node.
    for (const auto& [where, ip] :
         {std::pair<const NetNs&, std::string_view>{lab.world, addresses.world},
          {lab.b, addresses.b}}) {
      INFO("to " << ip);
      const SocketAddress server_address = at(ip, 8080);
      const UniqueFd server = tcp_listener(where, server_address);
      const UniqueFd client = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0));
      start_connect(client.get(), server_address);
      const UniqueFd downstream = accept_one(listeners.tcp(v6));
      CHECK(local_address(downstream.get()) == server_address);
      CHECK(peer_address(downstream.get()) == local_address(client.get()));

      const UniqueFd upstream = dial(lab.node, addresses.a, server_address);
      const UniqueFd served = accept_one(server.get());
      CHECK(peer_address(served.get()).ip == at(addresses.a, 0).ip);

      send_text(client.get(), "question");
      CHECK(receive_text(downstream.get()) == "question");
      send_text(upstream.get(), "passed on");
      CHECK(receive_text(served.get()) == "passed on");
      send_text(served.get(), "answer");
      CHECK(receive_text(upstream.get()) == "answer");
      send_text(downstream.get(), "given back");
      CHECK(receive_text(client.get()) == "given back");
    }
  }
  CHECK(lab.count(WEIR_COUNT_RETURNED) > 0);
  CHECK(lab.drops(WEIR_DROP_UNROUTED_MARK, WEIR_INGRESS) == 0);
}

TEST_CASE(
    "a port that is used again is answered at once, though the proxy's socket is in TIME_WAIT") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const Listeners listeners(lab.node);
  use(lab, listeners);
  for (const Addresses& addresses : kAddresses) {
    const SocketAddress server_address = at(addresses.world, 8080);
    std::uint16_t port = 0;
    for (int round = 0; round < 5; ++round) {
      CAPTURE(addresses.world, round);
      const UniqueFd client = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, port));
      start_connect(client.get(), server_address);
      port = local_address(client.get()).port;
      UniqueFd downstream = accept_one(listeners.tcp(addresses.v6));
      REQUIRE(wait_for(client.get(), POLLOUT));
      tcp_info info{};
      socklen_t length = sizeof info;
      REQUIRE(::getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
      CHECK(info.tcpi_total_retrans == 0); // no SYN was sent twice
      send_text(client.get(), "question");
      CHECK(receive_text(downstream.get()) == "question");
      // The proxy ends it first, as servers do: the port is left in TIME_WAIT on its side.
      downstream.reset();
      CHECK(receive_text(client.get()).empty());
    }
  }
}

TEST_CASE("workers have redirected connections by turns, also while cookies are handed out") {
  require_root();
  SmallNode lab;
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const Listeners one(lab.node), other(lab.node);
  const std::array workers{one.get(), other.get()};
  REQUIRE(lab.redirector->set_listeners(workers).has_value());
  for (const char* cookies : {"1", "2"}) { // when the queue is full, always
    lab.node.sysctl("net.ipv4.tcp_syncookies", cookies);
    for (const Addresses& addresses : kAddresses) {
      CAPTURE(cookies, addresses.world);
      std::vector<UniqueFd> clients;
      for (int i = 0; i < 8; ++i) {
        clients.push_back(bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0)));
        start_connect(clients.back().get(), at(addresses.world, 8080));
        REQUIRE(wait_for(clients.back().get(), POLLOUT));
      }
      for (const Listeners* listeners : {&one, &other}) {
        for (int i = 0; i < 4; ++i) {
          const UniqueFd accepted = accept_one(listeners->tcp(addresses.v6));
          CHECK(accepted.valid());
        }
        CHECK(nothing_arrived(listeners->tcp(addresses.v6)));
      }
    }
  }
}

TEST_CASE("traffic from outside to an enforced pod is redirected at the uplink") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{row(WEIR_INGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  auto endpoints = pods(rows);
  endpoints[0].egress_enforced = false;
  endpoints[0].ingress_enforced = true;
  REQUIRE(lab.apply(endpoints).has_value());
  const Listeners listeners(lab.node);
  use(lab, listeners);
  for (const Addresses& addresses : kAddresses) {
    const SocketAddress server_address = at(addresses.a, 8080);
    const UniqueFd server = tcp_listener(lab.a, server_address);
    const UniqueFd client = bound_socket(lab.world, SOCK_STREAM, at(addresses.world, 0));
    start_connect(client.get(), server_address);
    const UniqueFd downstream = accept_one(listeners.tcp(addresses.v6));
    CHECK(local_address(downstream.get()) == server_address);
    const UniqueFd upstream = dial(lab.node, addresses.world, server_address);
    const UniqueFd served = accept_one(server.get());
    CHECK(peer_address(served.get()).ip == at(addresses.world, 0).ip);
    send_text(served.get(), "answer");
    CHECK(receive_text(upstream.get()) == "answer");
    send_text(downstream.get(), "given back");
    CHECK(receive_text(client.get()) == "given back");
  }
}

TEST_CASE("a redirected datagram tells the listener whom the pod asked") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{egress(IPPROTO_UDP, 53, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const Listeners listeners(lab.node);
  use(lab, listeners);
  for (const Addresses& addresses : kAddresses) {
    const bool v6 = addresses.v6;
    const int on = 1;
    REQUIRE(::setsockopt(listeners.udp(v6), v6 ? int{SOL_IPV6} : int{SOL_IP},
                         v6 ? int{IPV6_RECVORIGDSTADDR} : int{IP_RECVORIGDSTADDR}, &on,
                         sizeof(on)) == 0);
    const SocketAddress resolver = at(addresses.world, 53);
    const UniqueFd client = bound_socket(lab.a, SOCK_DGRAM, at(addresses.a, 0));
    start_connect(client.get(), resolver);
    send_text(client.get(), "query");

    REQUIRE(wait_for(listeners.udp(v6), POLLIN));
    std::array<char, 64> text;
    alignas(cmsghdr) std::array<char, 256> control;
    sockaddr_storage from{};
    iovec part{.iov_base = text.data(), .iov_len = text.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof(from);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    REQUIRE(::recvmsg(listeners.udp(v6), &message, 0) == 5);
    const cmsghdr* original = CMSG_FIRSTHDR(&message);
    REQUIRE(original != nullptr);
    sockaddr_storage destination{};
    std::memcpy(&destination, CMSG_DATA(original), v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    CHECK(SocketAddress::from_sockaddr(destination) == resolver);
    CHECK(SocketAddress::from_sockaddr(from) == local_address(client.get()));

    // The answer comes from whom the pod asked.
    const UniqueFd answer = bound_socket(lab.node, SOCK_DGRAM, resolver, kListening);
    start_connect(answer.get(), local_address(client.get()));
    send_text(answer.get(), "reply");
    CHECK(receive_text(client.get()) == "reply");
  }
}

TEST_CASE("D10: a pod whose datagrams fill their lane takes none from another pod's") {
  require_root();
  SmallNode lab;
  lab.open();
  const std::array rows{egress(IPPROTO_UDP, 53, WEIR_REDIRECT)};
  auto both = pods(rows);
  both[1].egress_enforced = true;
  both[1].rows = rows;
  REQUIRE(lab.apply(both).has_value());
  const Listeners even(lab.node), odd(lab.node); // pod A has the odd lanes, pod B the even ones
  WorkerListeners lanes = even.get();
  lanes.udp4.push_back(odd.udp(false));
  lanes.udp6.push_back(odd.udp(true));
  const std::array workers{lanes};
  REQUIRE(lab.redirector->set_listeners(workers).has_value());
  for (const Addresses& addresses : kAddresses) {
    INFO("to " << addresses.world);
    const SocketAddress resolver = at(addresses.world, 53);
    const UniqueFd a = bound_socket(lab.a, SOCK_DGRAM, at(addresses.a, 0));
    const UniqueFd b = bound_socket(lab.b, SOCK_DGRAM, at(addresses.b, 0));
    start_connect(a.get(), resolver);
    start_connect(b.get(), resolver);
    constexpr int kFlood = 5000; // more than a socket has room for
    for (int i = 0; i < kFlood; ++i) {
      (void)::send(a.get(), "flood", 5, 0);
    }
    send_text(b.get(), "query");
    const auto count = [](int socket, std::string_view wanted) {
      char text[16];
      int arrived = 0;
      for (ssize_t got; (got = ::recv(socket, text, sizeof text, MSG_DONTWAIT)) > 0; ++arrived) {
        CHECK(std::string_view(text, static_cast<std::size_t>(got)) == wanted);
      }
      return arrived;
    };
    REQUIRE(wait_for(even.udp(addresses.v6), POLLIN));
    CHECK(count(even.udp(addresses.v6), "query") == 1);
    const int arrived = count(odd.udp(addresses.v6), "flood");
    CHECK((arrived > 0 && arrived < kFlood));
  }
}

TEST_CASE("without a proxy nothing passes, and a new proxy ends what the old one left") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  for (const Addresses& addresses : kAddresses) {
    const SocketAddress server_address = at(addresses.world, 8080);
    const UniqueFd server = tcp_listener(lab.world, server_address);
    UniqueFd established, late;
    {
      const Listeners listeners(lab.node);
      use(lab, listeners);
      established = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0));
      start_connect(established.get(), server_address);
      UniqueFd downstream = accept_one(listeners.tcp(addresses.v6));
      REQUIRE(wait_for(established.get(), POLLOUT));
      vanish(downstream);
    }

    const std::uint64_t dropped = lab.drops(WEIR_DROP_NO_PROXY, WEIR_EGRESS);
    late = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0));
    start_connect(late.get(), server_address);
    lab.until([&] { return lab.drops(WEIR_DROP_NO_PROXY, WEIR_EGRESS) > dropped; });
    CHECK(nothing_arrived(server.get()));

    const Listeners again(lab.node);
    use(lab, again);
    // The next SYN finds the new listener; the old connection gets its end from the kernel.
    const UniqueFd accepted = accept_one(again.tcp(addresses.v6));
    CHECK(peer_address(accepted.get()) == local_address(late.get()));
    send_text(established.get(), "still there?");
    check_reset(established.get());
    CHECK(nothing_arrived(server.get()));
  }
}

TEST_CASE("a pod is told when the proxy's socket has gone after its last word") {
  require_root();
  SmallNode lab;
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const Listeners listeners(lab.node);
  use(lab, listeners);
  for (const Addresses& addresses : kAddresses) {
    INFO(addresses.a);
    const UniqueFd client = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0));
    start_connect(client.get(), at(addresses.world, 8080));
    UniqueFd downstream = accept_one(listeners.tcp(addresses.v6));
    REQUIRE(wait_for(client.get(), POLLOUT));
    REQUIRE(::shutdown(downstream.get(), SHUT_WR) == 0);
    CHECK(receive_text(client.get()).empty());
    send_text(client.get(), "half a");
    CHECK(receive_text(downstream.get()) == "half a");
    vanish(downstream);
    send_text(client.get(), " connection");
    CHECK(wait_for(client.get(), 0)); // POLLERR, POLLHUP
    CHECK(::send(client.get(), "x", 1, MSG_NOSIGNAL) < 0);
  }
}

TEST_CASE("a server whom the proxy's reset does not reach is told when it speaks again") {
  require_root();
  SmallNode lab;
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const struct {
    const NetNs& where;
    std::string_view Addresses::* ip;
  } servers[] = {{lab.b, &Addresses::b}, {lab.world, &Addresses::world}};
  for (const bool masqueraded : {false, true}) {
    if (masqueraded) {
      lab.masquerade();
    }
    for (const Addresses& addresses : kAddresses) {
      for (const auto& [where, ip] : servers) {
        INFO(addresses.*ip << (masqueraded ? ", masqueraded" : ""));
        const SocketAddress address = at(addresses.*ip, 8080);
        const UniqueFd listener = tcp_listener(where, address);
        UniqueFd upstream = dial(lab.node, addresses.a, address);
        const SocketAddress own = local_address(upstream.get());
        UniqueFd served = accept_one(listener.get());
        {
          PacketLoss loss(where, "eth0", PacketLoss::Way::kIn);
          loss.lose_per_thousand(1000);
          cut(upstream);
          lab.until([&] { return loss.lost() > 0; });
        }
        send_text(served.get(), "still there?");
        check_reset(served.get());
        // The next connection from the same port is one like any other.
        upstream = bound_socket(lab.node, SOCK_STREAM, own, kUpstream);
        start_connect(upstream.get(), address);
        REQUIRE(wait_for(upstream.get(), POLLOUT));
        served = accept_one(listener.get());
        send_text(served.get(), "greeting");
        CHECK(receive_text(upstream.get()) == "greeting");
        cut(upstream);
      }
    }
  }
}

TEST_CASE("an interface that appears later is enforced when its notification is read") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  auto endpoints = pods({});
  endpoints.resize(3);
  endpoints[2].id = 23;
  endpoints[2].identity = 403;
  endpoints[2].interface = "pc";
  endpoints[2].egress_enforced = true;
  endpoints[2].addresses = {at("10.1.0.3", 0).ip, at("fd00:1::3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  CHECK_FALSE(lab.redirector->attached("pc"));
  CHECK(lab.redirector->attached("uplink"));

  const NetNs c;
  lab.add_pod(c, "pc", "10.1.0.3", "fd00:1::3");
  lab.until([&] { return lab.redirector->attached("pc"); });
  const std::uint64_t dropped = lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS);
  const UniqueFd client = bound_socket(c, SOCK_DGRAM, at("10.1.0.3", 0));
  start_connect(client.get(), at("192.0.2.9", 9));
  send_text(client.get(), "x");
  lab.until([&] { return lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) > dropped; });
  CHECK(lab.drops(WEIR_DROP_SPOOFED, WEIR_EGRESS) == 0);

  // Gone, its pins go with it.
  lab.node.ip({"link del pc"});
  lab.until([&] { return !lab.redirector->attached("pc"); });
  std::set<std::string> links;
  for (const std::string& name :
       redirect::list_folder(redirect::pin_folder(lab.bpffs) + "/links")) {
    links.insert(name.substr(0, name.find('_')));
  }
  // pa, pb, uplink, and that of the node's sockets
  CHECK(links.size() == (mode == redirect::AttachMode::kTcx ? 4 : 1));
}

TEST_CASE("policy holds while no process is there, and the next one takes over what it finds") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 80, WEIR_ALLOW)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  const IpAddress learned = at("203.0.113.5", 0).ip;
  REQUIRE(
      lab.redirector->learn({.endpoint = kPodA, .address = learned, .groups = 1, .expires_ns = 1})
          .has_value());
  REQUIRE(lab.redirector->learn({.endpoint = 99, .address = learned, .groups = 1, .expires_ns = 1})
              .has_value());
  const std::string folder = redirect::pin_folder(lab.bpffs);
  auto link_ids = [&] {
    std::set<std::uint32_t> ids;
    for (const std::string& name : redirect::list_folder(folder + "/links")) {
      const UniqueFd link(::bpf_obj_get((folder + "/links/" + name).c_str()));
      bpf_link_info info{};
      std::uint32_t length = sizeof(info);
      REQUIRE(::bpf_link_get_info_by_fd(link.get(), &info, &length) == 0);
      ids.insert(info.id);
    }
    return ids;
  };
  const auto before = link_ids();
  CHECK(before.size() == (mode == redirect::AttachMode::kTcx ? 7 : 1));
  lab.close();

  const UniqueFd allowed_server = tcp_listener(lab.world, at("192.0.2.9", 80));
  const UniqueFd other_server = tcp_listener(lab.world, at("192.0.2.9", 81));
  const UniqueFd allowed = bound_socket(lab.a, SOCK_STREAM, at("10.1.0.1", 0));
  const UniqueFd forbidden = bound_socket(lab.a, SOCK_STREAM, at("10.1.0.1", 0));
  start_connect(forbidden.get(), at("192.0.2.9", 81));
  start_connect(allowed.get(), at("192.0.2.9", 80));
  const UniqueFd served = accept_one(allowed_server.get());
  CHECK(nothing_arrived(other_server.get()));

  lab.open();
  CHECK(lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) > 0); // counted meanwhile
  REQUIRE(lab.apply(pods(rows)).has_value());
  CHECK(link_ids() == before);
  send_text(allowed.get(), "still open");
  CHECK(receive_text(served.get()) == "still open");
  // What was learned stays, unless its pod is gone.
  std::size_t entries = 0;
  for (const redirect::MapUse& use : lab.redirector->map_use()) {
    entries += use.name == "weir_learned" ? use.entries : 0;
  }
  CHECK(entries == 1);

  // A pod that is gone: its interface is like any other, and its address nobody's.
  const auto b_only = std::vector(1, pods({})[1]);
  REQUIRE(lab.apply(b_only).has_value());
  const UniqueFd free = bound_socket(lab.a, SOCK_STREAM, at("10.1.0.1", 0));
  start_connect(free.get(), at("192.0.2.9", 81));
  CHECK(accept_one(other_server.get()).valid());
}

TEST_CASE("a policy that cannot be built locks its pod and no other") {
  require_root();
  SmallNode lab;
  lab.open();
  PolicyRow broken = egress(IPPROTO_TCP, 80, WEIR_ALLOW);
  broken.key.prefix_length = 65; // longer than the key
  const std::array bad{broken};
  const std::array good{egress(IPPROTO_TCP, 80, WEIR_ALLOW)};
  auto endpoints = pods(bad);
  endpoints[1].egress_enforced = true;
  endpoints[1].rows = good;
  CHECK_FALSE(lab.apply(endpoints).has_value());
  const UniqueFd server = tcp_listener(lab.world, at("192.0.2.9", 80));
  const UniqueFd locked = bound_socket(lab.a, SOCK_STREAM, at("10.1.0.1", 0));
  start_connect(locked.get(), at("192.0.2.9", 80));
  const UniqueFd client = bound_socket(lab.b, SOCK_STREAM, at("10.1.0.2", 0));
  start_connect(client.get(), at("192.0.2.9", 80));
  CHECK(peer_address(accept_one(server.get()).get()).ip == at("10.1.0.2", 0).ip);
  CHECK(nothing_arrived(server.get()));
  lab.until([&] { return lab.drops(WEIR_DROP_NO_POLICY, WEIR_EGRESS) > 0; });

  // Once it had a policy, it keeps that.
  endpoints[0].rows = good;
  REQUIRE(lab.apply(endpoints).has_value());
  endpoints[0].rows = bad;
  CHECK_FALSE(lab.apply(endpoints).has_value());
  const UniqueFd kept = bound_socket(lab.a, SOCK_STREAM, at("10.1.0.1", 0));
  start_connect(kept.get(), at("192.0.2.9", 80));
  CHECK(peer_address(accept_one(server.get()).get()).ip == at("10.1.0.1", 0).ip);
}

TEST_CASE("cleanup leaves everything as it was before") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.node.ip({"rule add pref 50 fwmark 0x200/0xfff lookup 100",
               "route add 198.51.100.0/24 dev uplink table 100"});
  auto state = [&] {
    std::string text;
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"ip", "rule"},
          {"ip", "-6", "rule"},
          {"ip", "route", "show", "table", "all"},
          {"ip", "-6", "route", "show", "table", "all"},
          {"bpftool", "net", "show"},
          {"tc", "qdisc", "show"},
          {"sysctl", "-a", "--pattern", "net.ipv[46].conf"}}) {
      text += lab.node.run(command).text();
    }
    return text;
  };
  // The kernel gives each interface its own link-local address, and addresses their routes, a
  // moment after it is up. The pods' have fe80::1 besides.
  for (int tries = 0; tries < 500; ++tries) {
    const std::string routes = lab.node.run({"ip", "-6", "route", "show", "table", "local"}).out;
    std::map<std::string, int> link_local;
    std::istringstream lines(routes);
    for (std::string kind, address, dev, name; lines >> kind >> address >> dev >> name;) {
      link_local[name] += kind == "local" && address.starts_with("fe80:") ? 1 : 0;
      std::getline(lines, kind);
    }
    const bool settled = link_local["pa"] == 2 && link_local["pb"] == 2 &&
                         link_local["uplink"] == 1 &&
                         routes.find("anycast fe80:: dev uplink") != std::string::npos;
    if (settled) {
      break;
    }
    ::poll(nullptr, 0, 10);
  }
  const std::string before = state();
  lab.open();
  const std::array rows{egress(IPPROTO_TCP, 8080, WEIR_REDIRECT)};
  REQUIRE(lab.apply(pods(rows)).has_value());
  CHECK(state() != before);
  const std::string folder = redirect::pin_folder(lab.bpffs);
  std::set<std::uint32_t> programs, maps;
  for (const std::string& name : redirect::list_folder(folder + "/links")) {
    const UniqueFd link(::bpf_obj_get((folder + "/links/" + name).c_str()));
    bpf_link_info info{};
    std::uint32_t length = sizeof(info);
    REQUIRE(::bpf_link_get_info_by_fd(link.get(), &info, &length) == 0);
    programs.insert(info.prog_id);
  }
  for (const std::string& name : redirect::list_folder(folder + "/maps")) {
    const UniqueFd map(::bpf_obj_get((folder + "/maps/" + name).c_str()));
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    REQUIRE(::bpf_map_get_info_by_fd(map.get(), &info, &length) == 0);
    maps.insert(info.id);
  }
  CHECK(programs.size() == (mode == redirect::AttachMode::kTcx ? 5 : 1));
  CHECK(maps.size() == 21);

  // While the process still runs, and once more when it is gone.
  REQUIRE(lab.node.on_thread([&] { return redirect::cleanup(lab.bpffs); }).has_value());
  CHECK(state() == before);
  CHECK(redirect::list_folder(lab.bpffs).empty());
  lab.close();
  REQUIRE(lab.node.on_thread([&] { return redirect::cleanup(lab.bpffs); }).has_value());
  CHECK(state() == before);
  // The kernel frees them a moment later.
  auto gone = [](const std::set<std::uint32_t>& ids, int (*open)(__u32)) {
    for (int tries = 0; tries < 500; ++tries) {
      bool any = false;
      for (const std::uint32_t id : ids) {
        any = UniqueFd(open(id)).valid() || any;
      }
      if (!any) {
        return true;
      }
      ::poll(nullptr, 0, 10);
    }
    return false;
  };
  CHECK(gone(programs, &::bpf_prog_get_fd_by_id));
  CHECK(gone(maps, &::bpf_map_get_fd_by_id));
}

TEST_CASE("a BPF file system that weir has mounted is unmounted by cleanup") {
  require_root();
  const TempFolder folder;
  const NetNs node;
  const std::string path = folder.file("bpffs");
  const auto clean = [&] { return node.on_thread([&] { return redirect::cleanup(path); }); };
  REQUIRE(redirect::ensure_bpffs(path).has_value());
  REQUIRE(redirect::make_pin_folders(path).has_value());
  CHECK_FALSE(redirect::list_folder(path).empty());
  REQUIRE(clean().has_value());
  // Nothing is mounted there any more, so a second time there is nothing to unmount.
  CHECK(::umount(path.c_str()) != 0);
  REQUIRE(clean().has_value());
}

TEST_CASE("without a BPF file system the redirector says so") {
  require_root();
  const TempFolder folder;
  const NetNs node;
  const auto opened = node.on_thread([&] {
    const auto redirector = redirect::BpfRedirector::open(
        {.bpffs = folder.path().string(), .mount = false, .sizes = {}});
    return redirector ? std::string() : redirector.error().text();
  });
  CHECK(opened.find("BPF file system") != std::string::npos);
}
