// Joined sockets between namespaces: what arrives, in which order, how much may wait, and when the
// long way is taken.
#include "redirect-bpf/bpf/decide.h"
#include "test/bpf/join_lab.h"
#include "test/bpf/packet_loss.h"
#include "test/support/tcp_segments.h"

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::test;

namespace {

// One of the four directions that bytes take through a chain.
struct Way {
  std::string_view name;
  UniqueFd Chain::* from;
  UniqueFd Chain::* to;
};
constexpr Way kWays[] = {{"client to proxy", &Chain::client, &Chain::downstream},
                         {"proxy to server", &Chain::upstream, &Chain::server},
                         {"server to proxy", &Chain::server, &Chain::upstream},
                         {"proxy to client", &Chain::downstream, &Chain::client}};

// Reads until there is nothing, the end or an error; errno tells.
std::string receive_all(int socket) {
  std::string all;
  std::array<char, 65536> buffer;
  ssize_t length = 0;
  while ((length = ::recv(socket, buffer.data(), buffer.size(), 0)) > 0) {
    all.append(buffer.data(), static_cast<std::size_t>(length));
  }
  if (length == 0) {
    errno = 0;
  }
  return all;
}

std::string receive_exactly(int socket, std::size_t size) {
  std::string all;
  while (all.size() < size && wait_for(socket, POLLIN)) {
    const std::string more = receive_all(socket);
    if (more.empty()) {
      break;
    }
    all += more;
  }
  return all;
}

// Writes in pieces of this size until there is no room; how much that was.
std::size_t fill(int socket, std::size_t piece, std::size_t limit = SIZE_MAX) {
  const std::string text(piece, 'x');
  std::size_t sent = 0;
  while (sent < limit) {
    const ssize_t length = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (length < 0) {
      REQUIRE(errno == EAGAIN);
      break;
    }
    sent += static_cast<std::size_t>(length);
  }
  return sent;
}

void make_blocking(int socket) { REQUIRE(::fcntl(socket, F_SETFL, 0) == 0); }

} // namespace

TEST_CASE("both legs of a redirected flow are joined, and every message goes the short way") {
  require_root();
  JoinLab lab;
  for (const Addresses& addresses : kAddresses) {
    const Chain chain = lab.chain(addresses);
    const std::uint64_t to_proxy = lab.counted(WEIR_JOIN_BYTES_TO_PROXY);
    const std::uint64_t to_pod = lab.counted(WEIR_JOIN_BYTES_TO_POD);
    for (int i = 0; i < 3; ++i) {
      for (const Way& way : kWays) {
        send_text((chain.*way.from).get(), way.name);
        CHECK(receive_text((chain.*way.to).get()) == way.name);
      }
    }
    CHECK(lab.counted(WEIR_JOIN_BYTES_TO_PROXY) - to_proxy == 3 * 15 * 2);
    CHECK(lab.counted(WEIR_JOIN_BYTES_TO_POD) - to_pod == 3 * 15 * 2);
  }
  CHECK(lab.counted(WEIR_JOIN_SOCKETS) == 8);
}

TEST_CASE("nothing overtakes what went by TCP and has not been read") {
  require_root();
  JoinLab lab;
  const Chain chain = lab.chain();
  for (const Way& way : kWays) {
    INFO(way.name);
    const int from = (chain.*way.from).get(), to = (chain.*way.to).get();
    lab.accelerate(false);
    send_text(from, "first");
    lab.accelerate(true);
    const std::uint64_t unread = lab.counted(WEIR_JOIN_UNREAD);
    send_text(from, "second");
    CHECK(lab.counted(WEIR_JOIN_UNREAD) == unread + 1);
    CHECK(receive_exactly(to, 11) == "firstsecond");
    // All is read: the short way is open again. What then goes by TCP comes after it.
    send_text(from, "third");
    lab.accelerate(false);
    send_text(from, "fourth");
    lab.accelerate(true);
    CHECK(lab.counted(WEIR_JOIN_UNREAD) == unread + 1);
    CHECK(receive_exactly(to, 11) == "thirdfourth");
  }
}

TEST_CASE("a reader that never reads holds at most 1 MiB more than with TCP alone") {
  require_root();
  JoinLab lab;
  for (const Way& way : kWays) {
    INFO(way.name);
    lab.accelerate(false);
    std::size_t plain = 0;
    {
      const Chain chain = lab.chain();
      plain = fill((chain.*way.from).get(), 65536);
    }
    lab.accelerate(true);
    const Chain chain = lab.chain();
    const std::uint64_t before =
        lab.counted(WEIR_JOIN_BYTES_TO_PROXY) + lab.counted(WEIR_JOIN_BYTES_TO_POD);
    const std::size_t joined = fill((chain.*way.from).get(), 65536);
    const std::uint64_t queued =
        lab.counted(WEIR_JOIN_BYTES_TO_PROXY) + lab.counted(WEIR_JOIN_BYTES_TO_POD) - before;
    CHECK(queued > 0);
    CHECK(queued <= 256 * 1024);
    // How much TCP takes by itself varies a little with when it was acknowledged.
    CHECK(joined <= plain + 1024 * 1024);
    // And all of it is there, in order, once it is read.
    CHECK(receive_exactly((chain.*way.to).get(), joined) == std::string(joined, 'x'));
  }
}

TEST_CASE("messages are bounded as well as bytes, because each costs memory of its own") {
  require_root();
  JoinLab lab;
  for (const Way& way : kWays) {
    INFO(way.name);
    const Chain chain = lab.chain();
    const auto messages = [&] {
      return lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) + lab.counted(WEIR_JOIN_MESSAGES_TO_POD);
    };
    const std::uint64_t before = messages();
    const std::size_t sent = fill((chain.*way.from).get(), 1, 5000);
    CHECK(messages() - before == 256);
    CHECK(receive_exactly((chain.*way.to).get(), sent) == std::string(sent, 'x'));
    send_text((chain.*way.from).get(), "y");
    CHECK(messages() - before == 257);
  }
}

TEST_CASE("the end of a direction comes after its last byte, and the other direction goes on") {
  require_root();
  JoinLab lab;
  for (const Addresses& addresses : kAddresses) {
    for (const Way& way : kWays) {
      INFO(way.name);
      const Chain chain = lab.chain(addresses);
      const int from = (chain.*way.from).get(), to = (chain.*way.to).get();
      send_text(from, "last");
      REQUIRE(::shutdown(from, SHUT_WR) == 0);
      lab.until([&] {
        pollfd entry{.fd = to, .events = POLLRDHUP, .revents = 0};
        return ::poll(&entry, 1, 0) > 0;
      });
      CHECK(receive_text(to) == "last");
      CHECK(receive_text(to).empty());
      CHECK(::send(from, "more", 4, MSG_NOSIGNAL) < 0);
      CHECK(errno == EPIPE);
      send_text(to, "answer");
      CHECK(receive_text(from) == "answer");
    }
  }
}

TEST_CASE("a reset comes after what was sent before it, and ends the connection") {
  require_root();
  JoinLab lab;
  for (const Way& way : kWays) {
    INFO(way.name);
    Chain chain = lab.chain();
    const int to = (chain.*way.to).get();
    send_text((chain.*way.from).get(), "cut");
    cut(chain.*way.from);
    lab.until([&] {
      pollfd entry{.fd = to, .events = 0, .revents = 0};
      return ::poll(&entry, 1, 0) > 0; // POLLERR, POLLHUP
    });
    CHECK(receive_text(to) == "cut");
    std::array<char, 8> buffer;
    CHECK(::recv(to, buffer.data(), buffer.size(), 0) < 0);
    CHECK(errno == ECONNRESET);
    CHECK(::send(to, "x", 1, MSG_NOSIGNAL) < 0);
  }
}

TEST_CASE("a pod whom the proxy's reset does not reach is told when it speaks again") {
  require_root();
  JoinLab lab;
  const struct {
    const char* name;
    const NetNs& where;
    UniqueFd Chain::* pod;
    UniqueFd Chain::* proxy;
  } legs[] = {{"client", lab.a, &Chain::client, &Chain::downstream},
              {"server", lab.b, &Chain::server, &Chain::upstream}};
  for (const bool joined : {true, false}) {
    for (const auto& leg : legs) {
      INFO("joined: " << joined << ", " << leg.name);
      lab.accelerate(joined);
      Chain chain = lab.chain();
      const int pod = (chain.*leg.pod).get();
      // So that the flow is known to be the proxy's, and its packets are no longer looked at.
      lab.accelerate(false);
      send_text(pod, "text");
      CHECK(receive_text((chain.*leg.proxy).get()) == "text");
      {
        PacketLoss loss(leg.where, "eth0", PacketLoss::Way::kIn);
        loss.lose_per_thousand(1000);
        cut(chain.*leg.proxy);
        lab.until([&] { return loss.lost() > 0; });
      }
      send_text(pod, "still there?");
      check_reset(pod);
    }
  }
}

TEST_CASE("urgent bytes are bytes among others, whichever way they go") {
  require_root();
  JoinLab lab;
  for (const bool joined : {true, false}) {
    INFO("joined: " << joined);
    lab.accelerate(joined);
    const Chain chain = lab.chain();
    // As the proxy's sockets are.
    const int on = 1;
    for (const int socket : {chain.downstream.get(), chain.upstream.get()}) {
      REQUIRE(::setsockopt(socket, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) == 0);
    }
    for (const Way& way : {kWays[0], kWays[2]}) {
      INFO(way.name);
      const int from = (chain.*way.from).get();
      REQUIRE(::send(from, "ab!", 3, MSG_OOB | MSG_NOSIGNAL) == 3);
      send_text(from, "cd");
      CHECK(receive_exactly((chain.*way.to).get(), 5) == "ab!cd");
    }
  }
}

TEST_CASE(
    "a client whose last part of the handshake is lost sends by TCP until the proxy is there") {
  require_root();
  JoinLab lab;
  const Addresses& addresses = kAddresses[0];
  PacketLoss loss(lab.a, "eth0", PacketLoss::Way::kOut);
  loss.lose_acks(1000); // also those by which it answers when the proxy's side asks again
  const UniqueFd client = lab.connect_client(addresses, addresses.b);
  REQUIRE(wait_for(client.get(), POLLOUT));
  lab.until([&] { return loss.lost() > 0; });
  const std::uint64_t missing = lab.counted(WEIR_JOIN_NO_PEER);
  send_text(client.get(), "early");
  CHECK(lab.counted(WEIR_JOIN_NO_PEER) == missing + 1);
  const UniqueFd downstream = lab.accept_downstream(addresses);
  CHECK(receive_text(downstream.get()) == "early");
  const std::uint64_t messages = lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY);
  send_text(client.get(), "late");
  CHECK(receive_text(downstream.get()) == "late");
  CHECK(lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) == messages + 1);
}

TEST_CASE("after a change of policy the data path judges first, and what it denies stays denied") {
  require_root();
  JoinLab lab;
  const Chain chain = lab.chain();
  const int client = chain.client.get(), downstream = chain.downstream.get();
  send_text(client, "one");
  CHECK(receive_text(downstream) == "one");

  // Any raise of the revision will do: new listeners are one.
  const std::uint64_t undecided = lab.counted(WEIR_JOIN_UNDECIDED);
  const std::uint64_t messages = lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY);
  lab.listen();
  send_text(client, "two");
  CHECK(receive_text(downstream) == "two");
  CHECK(lab.counted(WEIR_JOIN_UNDECIDED) == undecided + 1);
  CHECK(lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) == messages);
  send_text(client, "three");
  CHECK(receive_text(downstream) == "three");
  CHECK(lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) == messages + 1);

  lab.put_in_force(WEIR_DENY);
  const std::uint64_t dropped = lab.drops(WEIR_DROP_POLICY_DENY, WEIR_EGRESS);
  send_text(client, "denied");
  lab.until([&] { return lab.drops(WEIR_DROP_POLICY_DENY, WEIR_EGRESS) > dropped; });
  send_text(client, "denied too");
  CHECK(lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) == messages + 1);
  CHECK(receive_all(downstream).empty());
  CHECK(errno == EAGAIN);
}

TEST_CASE("pods that are not chosen are not joined, and those that no longer are go on by TCP") {
  require_root();
  JoinLab lab;
  const Chain chosen = lab.chain();
  lab.put_in_force(WEIR_REDIRECT, false);
  const Chain plain = lab.chain();
  CHECK(lab.counted(WEIR_JOIN_SOCKETS) == 4);
  const std::uint64_t messages =
      lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) + lab.counted(WEIR_JOIN_MESSAGES_TO_POD);
  for (const Chain* chain : {&chosen, &plain}) {
    for (const Way& way : kWays) {
      INFO(way.name);
      send_text(((*chain).*way.from).get(), "text");
      CHECK(receive_text(((*chain).*way.to).get()) == "text");
    }
  }
  CHECK(lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) + lab.counted(WEIR_JOIN_MESSAGES_TO_POD) ==
        messages);
}

TEST_CASE("connections from before are left alone") {
  require_root();
  JoinLab lab;
  lab.accelerate(false);
  const Chain chain = lab.chain();
  lab.accelerate(true);
  for (const Way& way : kWays) {
    send_text((chain.*way.from).get(), "text");
    CHECK(receive_text((chain.*way.to).get()) == "text");
  }
  CHECK(lab.counted(WEIR_JOIN_SOCKETS) == 0);
}

TEST_CASE("a leg to a server elsewhere goes by TCP, the other one the short way") {
  require_root();
  JoinLab lab;
  for (const Addresses& addresses : kAddresses) {
    const UniqueFd listener = tcp_listener(lab.world, at(addresses.world, kJoinPort));
    const UniqueFd client = lab.connect_client(addresses, addresses.world);
    const UniqueFd downstream = lab.accept_downstream(addresses);
    const UniqueFd upstream = lab.dial(addresses, addresses.world);
    const UniqueFd server = accept_one(listener.get());
    const std::uint64_t bytes = lab.counted(WEIR_JOIN_BYTES_TO_PROXY);
    send_text(client.get(), "question");
    CHECK(receive_text(downstream.get()) == "question");
    send_text(upstream.get(), "question");
    CHECK(receive_text(server.get()) == "question");
    send_text(server.get(), "answer");
    CHECK(receive_text(upstream.get()) == "answer");
    CHECK(lab.counted(WEIR_JOIN_BYTES_TO_PROXY) == bytes + 8);
  }
}

TEST_CASE("what reads with blocking calls is not joined, or not sent to the short way") {
  require_root();
  JoinLab lab;
  const Addresses& addresses = kAddresses[0];
  const UniqueFd blocking = bound_socket(lab.a, SOCK_STREAM, at(addresses.a, 0));
  make_blocking(blocking.get());
  start_connect(blocking.get(), at(addresses.b, kJoinPort));
  const UniqueFd accepted = lab.accept_downstream(addresses);
  CHECK(lab.counted(WEIR_JOIN_SOCKETS) == 0); // the proxy's end would have no peer

  const Chain chain = lab.chain();
  make_blocking(chain.server.get());
  const std::uint64_t unfit = lab.counted(WEIR_JOIN_UNFIT);
  send_text(chain.upstream.get(), "five5");
  CHECK(lab.counted(WEIR_JOIN_UNFIT) == unfit + 1);
  std::array<char, 5> buffer;
  CHECK(::recv(chain.server.get(), buffer.data(), buffer.size(), MSG_WAITALL) == 5);
}

TEST_CASE("what the proxy holds back for the end goes by TCP, as one packet with it") {
  require_root();
  JoinLab lab;
  for (const bool joined : {true, false}) {
    INFO("joined: " << joined);
    lab.accelerate(joined);
    const Chain chain = lab.chain();
    const int client = chain.client.get(), downstream = chain.downstream.get();
    send_text(client, "question");
    CHECK(receive_text(downstream) == "question");
    const std::uint64_t held = lab.counted(WEIR_JOIN_LAST);
    const unsigned packets = segments_received(client);
    const int on = 1;
    REQUIRE(::setsockopt(downstream, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)) == 0);
    send_text(downstream, "ans");
    send_text(downstream, "wer");
    REQUIRE(::shutdown(downstream, SHUT_WR) == 0);
    CHECK(lab.counted(WEIR_JOIN_LAST) == held + (joined ? 2 : 0));
    CHECK(receive_exactly(client, 6) == "answer");
    CHECK(receive_text(client).empty());
    CHECK(segments_received(client) == packets + 1);
  }
}

TEST_CASE(
    "where connections end before they were used, others are left to TCP, until one is used") {
  require_root();
  JoinLab lab;
  // Both legs are connections of the same pod to the same server: a chain is two of them.
  const auto use = [&](int messages) {
    const std::uint64_t joined = lab.counted(WEIR_JOIN_SOCKETS);
    Chain chain = lab.chain();
    const bool both = lab.counted(WEIR_JOIN_SOCKETS) == joined + 4;
    for (int i = 0; i < messages; ++i) {
      for (const Way& way : kWays) {
        send_text((chain.*way.from).get(), "text");
        CHECK(receive_text((chain.*way.to).get()) == "text");
      }
    }
    cut(chain.downstream);
    cut(chain.server);
    return both;
  };
  for (int i = 0; i < WEIR_JOIN_BRIEFS / 2; ++i) {
    CHECK(use(1));
  }
  lab.until([&] {
    static_cast<void>(lab.chain());
    return lab.counted(WEIR_JOIN_BRIEF) > 0;
  });
  unsigned joined = 0;
  for (int i = 0; i < 100; ++i) {
    joined += use(1) ? 1 : 0;
  }
  CHECK(joined < 10);

  // One in WEIR_JOIN_SAMPLE is tried all the same, and this time it is worth it.
  const std::uint64_t sampled = lab.counted(WEIR_JOIN_SOCKETS);
  for (int i = 0; lab.counted(WEIR_JOIN_SOCKETS) == sampled; ++i) {
    REQUIRE(i < 1000);
    use(2 * WEIR_JOIN_PAYS);
  }
  lab.until([&] { return use(1); });
}

TEST_CASE("a connection that leaves the short way goes on by TCP, and nothing is lost on the way") {
  require_root();
  JoinLab lab;
  const auto leave = [&](const UniqueFd& end) {
    return lab.redirector->leave_acceleration(end.get());
  };
  for (const Addresses& addresses : kAddresses) {
    for (const bool down : {true, false}) {
      INFO((down ? "client's leg, " : "server's leg, ") << addresses.a);
      const Chain chain = lab.chain(addresses);
      const UniqueFd& proxy = down ? chain.downstream : chain.upstream;
      const UniqueFd& pod = down ? chain.client : chain.server;
      const auto messages = [&] {
        return lab.counted(WEIR_JOIN_MESSAGES_TO_PROXY) + lab.counted(WEIR_JOIN_MESSAGES_TO_POD);
      };
      std::uint64_t before = messages();
      send_text(proxy.get(), "to the pod");
      CHECK(messages() == before + 1);
      CHECK_FALSE(leave(proxy));
      CHECK(receive_text(pod.get()) == "to the pod");

      // The pod's end leaves first; what it sends then comes after what it has sent before.
      send_text(pod.get(), "short, ");
      CHECK(messages() == before + 2);
      CHECK_FALSE(leave(proxy));
      send_text(pod.get(), "long, ");
      send_text(proxy.get(), "back");
      CHECK_FALSE(leave(proxy));
      CHECK(receive_exactly(proxy.get(), 13) == "short, long, ");
      CHECK(receive_text(pod.get()) == "back");
      CHECK(leave(proxy));
      CHECK(leave(proxy));

      const std::string much = [] {
        std::string text;
        for (int i = 0; text.size() < 50'000; ++i) {
          text += std::to_string(i) + " ";
        }
        return text;
      }();
      send_text(proxy.get(), much);
      CHECK(receive_exactly(pod.get(), much.size()) == much);
      send_text(pod.get(), much);
      CHECK(receive_exactly(proxy.get(), much.size()) == much);
      CHECK(messages() == before + 2);

      // The other leg knows nothing of that.
      const Way& other = kWays[down ? 1 : 0];
      send_text((chain.*other.from).get(), "other");
      CHECK(receive_text((chain.*other.to).get()) == "other");
      CHECK(messages() == before + 3);
    }
  }
  lab.accelerate(false);
  const Chain plain = lab.chain();
  CHECK(leave(plain.downstream));
  CHECK(leave(plain.upstream));
}

TEST_CASE("what waits at an end that TCP is done with is not lost when it is to leave") {
  require_root();
  JoinLab lab;
  const Chain chain = lab.chain();
  const int client = chain.client.get(), downstream = chain.downstream.get();
  send_text(client, "last words");
  REQUIRE(::shutdown(client, SHUT_WR) == 0);
  REQUIRE(::shutdown(downstream, SHUT_WR) == 0);
  lab.until([&] {
    std::uint8_t state = 0; // the first field of tcp_info
    socklen_t length = sizeof(state);
    REQUIRE(::getsockopt(downstream, IPPROTO_TCP, TCP_INFO, &state, &length) == 0);
    return state == TCP_CLOSE;
  });
  lab.redirector->leave_acceleration(downstream);
  CHECK(receive_text(downstream) == "last words");
  CHECK(receive_text(downstream).empty());
}

TEST_CASE("a socket of the node that only looks like the proxy's is not joined") {
  require_root();
  JoinLab lab;
  const Addresses& addresses = kAddresses[0];
  // Without the proxy's mark; and a pod that sets it.
  const UniqueFd listener = tcp_listener(lab.b, at(addresses.b, 9090));
  const UniqueFd plain = bound_socket(lab.node, SOCK_STREAM, at("169.254.1.1", 0));
  start_connect(plain.get(), at(addresses.b, 9090));
  const UniqueFd served = accept_one(listener.get());
  const UniqueFd forged =
      bound_socket(lab.b, SOCK_STREAM, at(addresses.b, 0), {.transparent = false, .mark = 0x300});
  const UniqueFd world = tcp_listener(lab.world, at(addresses.world, 9090));
  start_connect(forged.get(), at(addresses.world, 9090));
  const UniqueFd reached = accept_one(world.get());
  CHECK(lab.counted(WEIR_JOIN_SOCKETS) == 0);
}

TEST_CASE("flows to a service are joined") {
  require_root();
  JoinLab lab;
  for (const Addresses& addresses : kAddresses) {
    const std::string_view service = addresses.v6 ? "fd00:96::20" : "10.96.0.20";
    const std::array services{redirect::ServiceState{.address = at(service, kJoinPort),
                                                     .protocol = IPPROTO_TCP,
                                                     .backends = {at(addresses.b, kJoinPort)}}};
    REQUIRE(lab.redirector->set_services(services).has_value());
    const UniqueFd client = lab.connect_client(addresses, service);
    const UniqueFd downstream = lab.accept_downstream(addresses);
    CHECK(local_address(downstream.get()) == at(service, kJoinPort));
    const std::uint64_t bytes = lab.counted(WEIR_JOIN_BYTES_TO_PROXY);
    send_text(client.get(), "question");
    CHECK(receive_text(downstream.get()) == "question");
    send_text(downstream.get(), "answer");
    CHECK(receive_text(client.get()) == "answer");
    CHECK(lab.counted(WEIR_JOIN_BYTES_TO_PROXY) == bytes + 8);
  }
}

TEST_CASE("what waits in a pod's queue outlives the proxy, and a new proxy joins anew") {
  require_root();
  JoinLab lab;
  Chain orderly = lab.chain(), torn = lab.chain();
  send_text(orderly.downstream.get(), "all of it");
  orderly.downstream.reset();
  send_text(torn.downstream.get(), "a part");
  cut(torn.downstream);
  lab.close();

  CHECK(receive_exactly(orderly.client.get(), 9) == "all of it");
  CHECK(receive_text(orderly.client.get()).empty());
  CHECK(receive_text(torn.client.get()) == "a part");
  std::array<char, 8> buffer;
  CHECK(::recv(torn.client.get(), buffer.data(), buffer.size(), 0) < 0);
  CHECK(errno == ECONNRESET);
  // Nobody is at the other end any more; the pod's socket is none the worse for that.
  REQUIRE(::send(orderly.client.get(), "anybody?", 8, MSG_NOSIGNAL) == 8);

  lab.open();
  lab.put_in_force(WEIR_REDIRECT);
  lab.accelerate(true);
  lab.listen();
  const Chain chain = lab.chain();
  const std::uint64_t bytes = lab.counted(WEIR_JOIN_BYTES_TO_POD);
  for (const Way& way : kWays) {
    send_text((chain.*way.from).get(), "text");
    CHECK(receive_text((chain.*way.to).get()) == "text");
  }
  CHECK(lab.counted(WEIR_JOIN_BYTES_TO_POD) == bytes + 8);
}
