// Joined sockets between namespaces. The part of the proxy is played by sockets of the test.
#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::test;
using redirect::PolicyRow;

namespace {

constexpr SocketOptions kListening{.transparent = true, .mark = 0};
constexpr SocketOptions kUpstream{.transparent = true, .mark = WEIR_MARK_FROM_PROXY};
constexpr std::uint16_t kPort = 8080;

// Pod a ══ the proxy ══ pod b, both legs connected.
struct Chain {
  UniqueFd client, downstream, upstream, server;
};

class JoinLab : public SmallNode {
public:
  JoinLab() {
    open();
    rows = {row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, kPort, WEIR_REDIRECT)};
    put_in_force(true);
    const auto begun = node.on_thread([this] { return redirector->set_acceleration(true); });
    INFO((begun ? "" : begun.error().text()));
    REQUIRE(begun.has_value());
    for (const Addresses& addresses : kAddresses) {
      auto& own = addresses.v6 ? listener6 : listener4;
      own = tcp_listener(node, at(addresses.v6 ? "::1" : "127.0.0.1", 0), kListening);
    }
    const std::array workers{
        redirect::WorkerListeners{.tcp4 = listener4.get(), .tcp6 = listener6.get()}};
    REQUIRE(redirector->set_listeners(workers).has_value());
  }

  void put_in_force(bool joined) {
    auto endpoints = pods(rows);
    endpoints[0].joined = joined;
    endpoints[1].joined = joined;
    REQUIRE(apply(endpoints).has_value());
  }

  Chain chain(const Addresses& addresses) {
    Chain chain;
    const SocketAddress where = at(addresses.b, kPort);
    const UniqueFd listener = tcp_listener(b, where);
    chain.client = bound_socket(a, SOCK_STREAM, at(addresses.a, 0));
    start_connect(chain.client.get(), where);
    chain.downstream = accept_one(addresses.v6 ? listener6.get() : listener4.get());
    chain.upstream = bound_socket(node, SOCK_STREAM, at(addresses.a, 0), kUpstream);
    start_connect(chain.upstream.get(), where);
    chain.server = accept_one(listener.get());
    REQUIRE(wait_for(chain.client.get(), POLLOUT));
    REQUIRE(wait_for(chain.upstream.get(), POLLOUT));
    return chain;
  }

  std::uint64_t joined(weir_join_count what) { return redirector->acceleration().counts[what]; }

  std::vector<PolicyRow> rows;
  UniqueFd listener4, listener6;
};

} // namespace

TEST_CASE("both legs of a redirected flow are joined, and every message goes the short way") {
  require_root();
  JoinLab lab;
  for (const Addresses& addresses : kAddresses) {
    const Chain chain = lab.chain(addresses);
    const std::uint64_t to_proxy = lab.joined(WEIR_JOIN_BYTES_TO_PROXY);
    const std::uint64_t to_pod = lab.joined(WEIR_JOIN_BYTES_TO_POD);
    for (int i = 0; i < 3; ++i) {
      send_text(chain.client.get(), "question");
      CHECK(receive_text(chain.downstream.get()) == "question");
      send_text(chain.upstream.get(), "passed on");
      CHECK(receive_text(chain.server.get()) == "passed on");
      send_text(chain.server.get(), "answer");
      CHECK(receive_text(chain.upstream.get()) == "answer");
      send_text(chain.downstream.get(), "given back");
      CHECK(receive_text(chain.client.get()) == "given back");
    }
    for (int i = 0; i < WEIR_JOIN_COUNT_MAX; ++i) {
      UNSCOPED_INFO(i << ": " << lab.joined(static_cast<weir_join_count>(i)));
    }
    CHECK(lab.joined(WEIR_JOIN_BYTES_TO_PROXY) - to_proxy == 3 * (8 + 6));
    CHECK(lab.joined(WEIR_JOIN_BYTES_TO_POD) - to_pod == 3 * (9 + 10));
  }
  CHECK(lab.joined(WEIR_JOIN_SOCKETS) == 8);
}
