#include "test/bpf/join_lab.h"

#include "test/bpf/policy_rows.h"
#include "test/support/kernel.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

namespace weir::test {

namespace {

constexpr SocketOptions kListening{.transparent = true, .mark = 0};
constexpr SocketOptions kUpstream{.transparent = true, .mark = WEIR_MARK_FROM_PROXY};

} // namespace

JoinLab::JoinLab() {
  require_joined_sockets();
  open();
  put_in_force(WEIR_REDIRECT);
  accelerate(true);
  listen();
}

void JoinLab::accelerate(bool enabled) {
  const auto done = node.on_thread([&] { return redirector->set_acceleration(enabled); });
  INFO((done ? "" : done.error().text()));
  REQUIRE(done.has_value());
}

void JoinLab::listen() {
  x_listener4 = tcp_listener(node, at("127.0.0.1", 0), kListening);
  x_listener6 = tcp_listener(node, at("::1", 0), kListening);
  const std::array workers{redirect::WorkerListeners{
      .tcp4 = x_listener4.get(), .tcp6 = x_listener6.get(), .udp4 = {}, .udp6 = {}}};
  REQUIRE(redirector->set_listeners(workers).has_value());
}

void JoinLab::put_in_force(weir_verdict verdict, bool joined) {
  const std::array rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, kJoinPort, verdict)};
  auto endpoints = pods(rows);
  for (auto& endpoint : endpoints) {
    endpoint.joined = joined;
  }
  REQUIRE(apply(endpoints).has_value());
}

UniqueFd JoinLab::connect_client(const Addresses& addresses, std::string_view to) {
  UniqueFd client = bound_socket(a, SOCK_STREAM, at(addresses.a, 0));
  start_connect(client.get(), at(to, kJoinPort));
  return client;
}

UniqueFd JoinLab::accept_downstream(const Addresses& addresses) {
  return accept_one(addresses.v6 ? x_listener6.get() : x_listener4.get());
}

UniqueFd JoinLab::dial(const Addresses& addresses, std::string_view to) {
  UniqueFd upstream = bound_socket(node, SOCK_STREAM, at(addresses.a, 0), kUpstream);
  start_connect(upstream.get(), at(to, kJoinPort));
  REQUIRE(wait_for(upstream.get(), POLLOUT));
  return upstream;
}

Chain JoinLab::chain(const Addresses& addresses) {
  UniqueFd& listener = addresses.v6 ? x_server6 : x_server4;
  if (!listener.valid()) {
    listener = tcp_listener(b, at(addresses.b, kJoinPort));
  }
  Chain chain;
  chain.client = connect_client(addresses, addresses.b);
  chain.downstream = accept_downstream(addresses);
  chain.upstream = dial(addresses, addresses.b);
  chain.server = accept_one(listener.get());
  REQUIRE(wait_for(chain.client.get(), POLLOUT));
  return chain;
}

} // namespace weir::test
