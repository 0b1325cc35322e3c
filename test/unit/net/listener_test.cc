#include "proxy/net/listener.h"

#include "proxy/runtime/gate.h"
#include "test/support/tcp_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <sys/resource.h>

#include <fcntl.h>

#include <memory>
#include <vector>

using namespace weir;

namespace {

struct Accepting {
  explicit Accepting(std::string_view ip)
      : fd(net::open_static_listener(ListenAddr{{*IpAddress::parse(ip), 0}})) {
    REQUIRE(fd.has_value());
    address = net::bound_address(fd->get())->value;
    acceptor.assign(address.ip.is_v4() ? boost::asio::ip::tcp::v4() : boost::asio::ip::tcp::v6(),
                    fd->release());
    gate.spawn(
        net::accept_loop(acceptor, [this](boost::asio::ip::tcp::socket socket, ClientAddr client) {
          accepted.push_back(std::move(socket));
          clients.push_back(client.value);
        }));
  }
  ~Accepting() {
    gate.close();
    context.restart();
    context.run();
    CHECK(gate.running() == 0);
  }
  void run_until_accepted(std::size_t count) {
    context.restart();
    while (accepted.size() < count) {
      context.run_one();
    }
  }

  boost::asio::io_context context;
  Result<UniqueFd> fd;
  SocketAddress address;
  boost::asio::ip::tcp::acceptor acceptor{context};
  std::vector<boost::asio::ip::tcp::socket> accepted;
  std::vector<SocketAddress> clients;
  runtime::Gate gate{context};
};

} // namespace

TEST_CASE("a static listener accepts and knows both addresses, IPv4 and IPv6") {
  for (const std::string_view ip : {"127.0.0.1", "::1"}) {
    Accepting a(ip);
    test::TcpPeer client = test::TcpPeer::connect_to(a.address);
    a.run_until_accepted(1);
    CHECK(a.clients.at(0) == client.address());
    const auto destination = net::original_dst(a.accepted.at(0).native_handle());
    REQUIRE(destination.has_value());
    CHECK(destination->value == a.address);
  }
}

TEST_CASE("workers share the port of a static listener") {
  const auto first = net::open_static_listener(ListenAddr{{*IpAddress::parse("127.0.0.1"), 0}});
  REQUIRE(first.has_value());
  const auto address = net::bound_address(first->get());
  CHECK(net::open_static_listener(*address).has_value());
}

TEST_CASE("a listener on an address that is not there is an error that names it") {
  const auto fd = net::open_static_listener(ListenAddr{{*IpAddress::parse("192.0.2.1"), 80}});
  REQUIRE(fd.has_error());
  CHECK(fd.error().text().find("192.0.2.1:80") != std::string::npos);
}

// UBSan looks at objects through a pipe of its own, and takes them for broken when it gets none.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("R8: out of file descriptors, accepting goes on when there are some again") {
  Accepting a("127.0.0.1");
  test::TcpPeer client = test::TcpPeer::connect_to(a.address);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  // The lowest free descriptor is the limit: no further one can be opened.
  const UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next.get());
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  a.context.restart();
  a.context.poll();
  CHECK(a.accepted.empty());
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  a.run_until_accepted(1);
  CHECK(a.clients.at(0) == client.address());
}
#endif
