#include "proxy/net/connector.h"
#include "proxy/net/listener.h"
#include "proxy/runtime/gate.h"
#include "test/support/tcp_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <netinet/in.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

using namespace weir;
using namespace std::chrono_literals;

namespace {

void need_root() {
  if (::geteuid() != 0) {
    const char* ci = std::getenv("CI");
    if (ci != nullptr && std::string_view(ci) == "true") {
      FAIL("needs root");
    }
    SKIP("needs root");
  }
}

boost::asio::awaitable<void> connect_into(net::Connector& connector,
                                          net::Connector::Connected& result) {
  result = co_await connector.connect();
}

} // namespace

TEST_CASE("a transparent listener is on loopback, on a port of its own, without SO_REUSEPORT") {
  need_root();
  for (const net::Family family : {net::Family::kV4, net::Family::kV6}) {
    const auto first = net::open_transparent_listener(family);
    const auto second = net::open_transparent_listener(family);
    REQUIRE(first.has_value());
    REQUIRE(second.has_value());
    const SocketAddress address = net::bound_address(first->get())->value;
    CHECK(address.ip == *IpAddress::parse(family == net::Family::kV4 ? "127.0.0.1" : "::1"));
    CHECK(address.port != net::bound_address(second->get())->value.port);
    int value = 0;
    socklen_t length = sizeof value;
    REQUIRE(::getsockopt(first->get(), SOL_SOCKET, SO_REUSEPORT, &value, &length) == 0);
    CHECK(value == 0);
    length = sizeof value;
    REQUIRE(::getsockopt(first->get(), SOL_SOCKET, SO_OOBINLINE, &value, &length) == 0);
    CHECK(value == 1);
    length = sizeof value;
    const bool v4 = family == net::Family::kV4;
    REQUIRE(::getsockopt(first->get(), v4 ? IPPROTO_IP : IPPROTO_IPV6,
                         v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &value, &length) == 0);
    CHECK(value == 1);
  }
}

TEST_CASE("the server sees the address that the connector was given, never its port") {
  need_root();
  // 127.0.0.9 is local without having been configured; IPv6 has only ::1 on loopback.
  for (const auto& [server_ip, source_ip] :
       {std::pair{"127.0.0.1", "127.0.0.9"}, std::pair{"::1", "::1"}}) {
    const test::TcpPeer server = test::TcpPeer::listening(server_ip);
    boost::asio::io_context context;
    runtime::Gate gate(context);
    net::TcpConnector connector(server.address(), IpAddress::parse(source_ip), 5s);
    net::Connector::Connected result;
    gate.spawn(connect_into(connector, result));
    context.run();
    REQUIRE_FALSE(result.error);
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const UniqueFd accepted(
        ::accept4(server.fd(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_CLOEXEC));
    REQUIRE(accepted.valid());
    CHECK(SocketAddress::from_sockaddr(storage).ip == *IpAddress::parse(source_ip));
  }
}
