// Services with real connections between namespaces. Every service address is unreachable but for
// weir's translation, or leads elsewhere by an iptables rule that must not be met.
#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"

#include <arpa/inet.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::test;
using redirect::PolicyRow;
using redirect::ServiceState;

namespace {

struct ServiceAddresses {
  Addresses pods;
  std::string_view service;
};
constexpr ServiceAddresses kServices[] = {{kAddresses[0], "10.96.0.20"},
                                          {kAddresses[1], "fd00:96::20"}};

ServiceState service(std::string_view address, std::uint16_t port, std::uint8_t protocol,
                     std::vector<SocketAddress> backends) {
  ServiceState state;
  state.address = at(address, port);
  state.protocol = protocol;
  state.backends = std::move(backends);
  return state;
}

// As kube-proxy would.
void translate(const NetNs& node, const char* tool, const char* from, const char* to) {
  const auto done = node.run({tool, "-t", "nat", "-A", "PREROUTING", "-d", from, "-p", "tcp", "-j",
                              "DNAT", "--to-destination", to});
  INFO(done.text());
  REQUIRE(done.exit_code == 0);
}

// Pod A may reach B's ports 8080 and 8053 and the world's 8080, and nothing else.
struct ServiceNode : SmallNode {
  ServiceNode() {
    open();
    const std::array rows{
        row(WEIR_EGRESS, kPodBIdentity, IPPROTO_TCP, 8080, WEIR_ALLOW),
        row(WEIR_EGRESS, kPodBIdentity, IPPROTO_UDP, 8053, WEIR_ALLOW),
        row(WEIR_EGRESS, WEIR_IDENTITY_WORLD_IPV4, IPPROTO_TCP, 8080, WEIR_ALLOW),
        row(WEIR_EGRESS, WEIR_IDENTITY_WORLD_IPV6, IPPROTO_TCP, 8080, WEIR_ALLOW),
    };
    REQUIRE(apply(pods(rows)).has_value());
    // As kube-proxy's rules, to where nobody is.
    translate(node, "iptables", "10.96.0.0/16", "192.0.2.250");
    translate(node, "ip6tables", "fd00:96::/64", "2001:db8::250");
  }

  void set(const std::vector<ServiceState>& services) {
    REQUIRE(redirector->set_services(services).has_value());
  }
};

UniqueFd dial(const NetNs& where, std::string_view from, const SocketAddress& to) {
  UniqueFd socket = bound_socket(where, SOCK_STREAM, at(from, 0));
  start_connect(socket.get(), to);
  return socket;
}

int socket_error(int socket) {
  int error = 0;
  socklen_t length = sizeof(error);
  REQUIRE(::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  return error;
}

bool nothing_arrived(int listener) {
  return ::accept(listener, nullptr, nullptr) < 0 && errno == EAGAIN;
}

void exchange(int client, int server) {
  send_text(client, "question");
  CHECK(receive_text(server) == "question");
  send_text(server, "answer");
  CHECK(receive_text(client) == "answer");
}

} // namespace

TEST_CASE("N6: a connection to a service reaches a backend, on this node and elsewhere") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    const auto& [a, b, world, v6] = addresses.pods;
    for (const auto& [where, ip] : {std::pair<const NetNs&, std::string_view>{lab.b, b},
                                    std::pair<const NetNs&, std::string_view>{lab.world, world}}) {
      INFO(addresses.service << " to " << ip);
      lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(ip, 8080)})});
      const UniqueFd server = tcp_listener(where, at(ip, 8080));
      const UniqueFd client = dial(lab.a, a, at(addresses.service, 80));
      const UniqueFd served = accept_one(server.get());
      CHECK(peer_address(served.get()) == local_address(client.get()));
      CHECK(local_address(served.get()) == at(ip, 8080));
      CHECK(peer_address(client.get()) == at(addresses.service, 80));
      exchange(client.get(), served.get());
    }
  }
}

TEST_CASE("N6: policy speaks of a service's backends, and never of its own address or port") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    lab.set({service(addresses.service, 8080, IPPROTO_TCP, {at(addresses.pods.b, 81)})});
    const UniqueFd server = tcp_listener(lab.b, at(addresses.pods.b, 81));
    const std::uint64_t dropped = lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS);
    const UniqueFd client = dial(lab.a, addresses.pods.a, at(addresses.service, 8080));
    lab.until([&] { return lab.drops(WEIR_DROP_POLICY, WEIR_EGRESS) > dropped; });
    CHECK(nothing_arrived(server.get()));
  }
}

TEST_CASE("N6: datagrams to a service reach a backend and come back from the service") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    const auto& [a, b, world, v6] = addresses.pods;
    lab.set({service(addresses.service, 53, IPPROTO_UDP, {at(b, 8053)}),
             service(addresses.service, 53, IPPROTO_TCP, {at(b, 8080)})});
    UniqueFd server = bound_socket(lab.b, SOCK_DGRAM, at(b, 8053));
    // A connected socket takes datagrams from the service's address only.
    const UniqueFd client = bound_socket(lab.a, SOCK_DGRAM, at(a, 0));
    start_connect(client.get(), at(addresses.service, 53));
    send_text(client.get(), "query");
    CHECK(receive_text(server.get()) == "query");
    start_connect(server.get(), local_address(client.get()));
    send_text(server.get(), "reply");
    CHECK(receive_text(client.get()) == "reply");

    // An ICMP error finds the socket by the service's name as well.
    const UniqueFd nobody = bound_socket(lab.a, SOCK_DGRAM, at(a, 0));
    server.reset();
    start_connect(nobody.get(), at(addresses.service, 53));
    send_text(nobody.get(), "anybody?");
    REQUIRE(wait_for(nobody.get(), POLLIN));
    CHECK(socket_error(nobody.get()) == ECONNREFUSED);
  }
}

TEST_CASE("N6: a service without backends refuses at once, and says why") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    lab.set({service(addresses.service, 80, IPPROTO_TCP, {}),
             service(addresses.service, 80, IPPROTO_UDP, {})});
    const std::uint64_t dropped = lab.drops(WEIR_DROP_NO_BACKEND, WEIR_EGRESS);
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      INFO(addresses.service << (type == SOCK_STREAM ? " TCP" : " UDP"));
      const UniqueFd client = bound_socket(lab.a, type, at(addresses.pods.a, 0));
      start_connect(client.get(), at(addresses.service, 80));
      if (type == SOCK_DGRAM) {
        send_text(client.get(), "anybody?");
      }
      REQUIRE(wait_for(client.get(), POLLIN));
      CHECK(socket_error(client.get()) == ECONNREFUSED);
    }
    CHECK(lab.drops(WEIR_DROP_NO_BACKEND, WEIR_EGRESS) == dropped + 2);
  }
}

TEST_CASE("N6: a pod reaches itself through its service") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    INFO(addresses.service);
    const std::string_view a = addresses.pods.a;
    lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(a, 8080)})});
    const UniqueFd server = tcp_listener(lab.a, at(a, 8080));
    const UniqueFd client = dial(lab.a, a, at(addresses.service, 80));
    const UniqueFd served = accept_one(server.get());
    // Its own address would be a stranger to its kernel.
    CHECK(peer_address(served.get()).ip == at(addresses.service, 0).ip);
    exchange(client.get(), served.get());
  }
}

TEST_CASE("N6: backends come and go: running connections stay, new ones see the present set") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    const auto& [a, b, world, v6] = addresses.pods;
    const SocketAddress called = at(addresses.service, 80);
    const UniqueFd in_b = tcp_listener(lab.b, at(b, 8080));
    const UniqueFd in_world = tcp_listener(lab.world, at(world, 8080));
    lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(b, 8080)})});
    const UniqueFd old_client = dial(lab.a, a, called);
    const UniqueFd old_served = accept_one(in_b.get());

    lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(world, 8080)})});
    std::vector<UniqueFd> kept;
    for (int i = 0; i < 8; ++i) {
      kept.push_back(dial(lab.a, a, called));
      kept.push_back(accept_one(in_world.get()));
    }
    exchange(old_client.get(), old_served.get());

    // Twice: the sets of before the last change are gone by now.
    lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(b, 8080), at(world, 8080)})});
    lab.set({service(addresses.service, 80, IPPROTO_TCP, {at(world, 8080), at(b, 8080)})});
    exchange(old_client.get(), old_served.get());
    int reached_b = 0, reached_world = 0;
    for (int i = 0; i < 40; ++i) {
      kept.push_back(dial(lab.a, a, called));
      std::array<pollfd, 2> listeners{{{in_b.get(), POLLIN, 0}, {in_world.get(), POLLIN, 0}}};
      REQUIRE(::poll(listeners.data(), listeners.size(), 5000) > 0);
      const bool went_to_b = listeners[0].revents != 0;
      kept.push_back(accept_one(went_to_b ? in_b.get() : in_world.get()));
      ++(went_to_b ? reached_b : reached_world);
    }
    CHECK(reached_b > 0);
    CHECK(reached_world > 0);

    // The service is gone; the connection is not.
    lab.set({});
    exchange(old_client.get(), old_served.get());
  }
}

TEST_CASE("N6: with session affinity a client keeps its backend for as long as that is one") {
  require_root();
  ServiceNode lab;
  for (const ServiceAddresses& addresses : kServices) {
    const auto& [a, b, world, v6] = addresses.pods;
    const UniqueFd in_b = tcp_listener(lab.b, at(b, 8080));
    const UniqueFd in_world = tcp_listener(lab.world, at(world, 8080));
    ServiceState sticky =
        service(addresses.service, 80, IPPROTO_TCP, {at(b, 8080), at(world, 8080)});
    sticky.affinity = std::chrono::hours(3);
    lab.set({sticky});
    std::vector<UniqueFd> kept;
    std::set<bool> reached;
    const auto dial_once = [&] {
      kept.push_back(dial(lab.a, a, at(addresses.service, 80)));
      std::array<pollfd, 2> listeners{{{in_b.get(), POLLIN, 0}, {in_world.get(), POLLIN, 0}}};
      REQUIRE(::poll(listeners.data(), listeners.size(), 5000) > 0);
      const bool went_to_b = listeners[0].revents != 0;
      kept.push_back(accept_one(went_to_b ? in_b.get() : in_world.get()));
      return went_to_b;
    };
    for (int i = 0; i < 20; ++i) {
      reached.insert(dial_once());
    }
    REQUIRE(reached.size() == 1);
    const bool was_b = *reached.begin();
    sticky.backends = {was_b ? at(world, 8080) : at(b, 8080)};
    lab.set({sticky});
    CHECK(dial_once() != was_b);
    // The set grows again: the client has another backend now, and stays there.
    sticky.backends = {at(b, 8080), at(world, 8080)};
    lab.set({sticky});
    for (int i = 0; i < 10; ++i) {
      CHECK(dial_once() != was_b);
    }
  }
}

TEST_CASE("N12: two flows that a backend could not tell apart do not get mixed up") {
  require_root();
  ServiceNode lab;
  const std::string_view a = kAddresses[0].a, b = kAddresses[0].b;
  lab.set({service("10.96.0.20", 80, IPPROTO_TCP, {at(b, 8080)}),
           service("10.96.0.21", 80, IPPROTO_TCP, {at(b, 8080)})});
  const UniqueFd server = tcp_listener(lab.b, at(b, 8080));
  const UniqueFd first = bound_socket(lab.a, SOCK_STREAM, at(a, 33333));
  start_connect(first.get(), at("10.96.0.20", 80));
  const UniqueFd served = accept_one(server.get());
  for (const auto& to : {at("10.96.0.21", 80), at(b, 8080)}) {
    const std::uint64_t dropped = lab.drops(WEIR_DROP_PORT_IN_USE, WEIR_EGRESS);
    UniqueFd second(lab.a.on_thread(
        [] { return ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }));
    const int on = 1;
    REQUIRE(::setsockopt(second.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    REQUIRE(::setsockopt(first.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    sockaddr_storage storage{};
    const socklen_t length = at(a, 33333).to_sockaddr(storage);
    REQUIRE(::bind(second.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0);
    start_connect(second.get(), to);
    lab.until([&] { return lab.drops(WEIR_DROP_PORT_IN_USE, WEIR_EGRESS) > dropped; });
  }
  exchange(first.get(), served.get());
  CHECK(nothing_arrived(server.get()));
}

TEST_CASE("N6: pods that no policy concerns are left to the cluster's own translation") {
  require_root();
  SmallNode lab;
  lab.open();
  auto endpoints = pods({});
  endpoints[0].egress_enforced = false;
  REQUIRE(lab.apply(endpoints).has_value());
  const std::array services{service("10.96.0.20", 80, IPPROTO_TCP, {at("10.1.0.2", 8080)})};
  REQUIRE(lab.redirector->set_services(services).has_value());
  translate(lab.node, "iptables", "10.96.0.20/32", "192.0.2.9:8080");
  const UniqueFd server = tcp_listener(lab.world, at("192.0.2.9", 8080));
  const UniqueFd client = dial(lab.a, "10.1.0.1", at("10.96.0.20", 80));
  const UniqueFd served = accept_one(server.get());
  exchange(client.get(), served.get());
}

TEST_CASE("S6: where no backend fits any more, the service keeps what it has, and that is said") {
  require_root();
  SmallNode lab;
  redirect::MapSizes sizes = kSmallMaps;
  sizes.backends = 2;
  lab.open(sizes);
  const auto with = [&](std::vector<SocketAddress> backends) {
    const std::array services{service("10.96.0.20", 80, IPPROTO_TCP, std::move(backends))};
    return lab.redirector->set_services(services);
  };
  CHECK(with({at("10.1.0.2", 1)}).has_value());
  const auto refused = with({at("10.1.0.2", 1), at("10.1.0.2", 2), at("10.1.0.2", 3)});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text().find("weir_backends") != std::string::npos);
}
