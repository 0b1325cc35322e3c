#include "proxy/admin/admin_server.h"

#include "proxy/base/unique_fd.h"
#include "test/unit/admin/fake_source.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <sys/socket.h>

#include <vector>

namespace {

using namespace weir;
using namespace weir::admin;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

config::Config any_port() {
  config::Config config;
  config.admin = *SocketAddress::parse("127.0.0.1:0");
  config.metrics = *SocketAddress::parse("127.0.0.1:0");
  return config;
}

UniqueFd connect_to(const SocketAddress& address) {
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd.valid());
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
  return fd;
}

void send_all(const UniqueFd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      return; // the server has closed already; what it said is still to be read
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string read_to_end(const UniqueFd& fd) {
  std::string all;
  char chunk[4096];
  for (ssize_t got = 0; (got = ::recv(fd.get(), chunk, sizeof chunk, 0)) > 0;) {
    all.append(chunk, static_cast<std::size_t>(got));
  }
  return all;
}

// What the server says to these bytes until it closes.
std::string talk(const SocketAddress& address, std::string_view bytes) {
  const UniqueFd fd = connect_to(address);
  send_all(fd, bytes);
  return read_to_end(fd);
}

struct Running {
  test::FakeSource source;
  std::unique_ptr<AdminServer> server = *AdminServer::start(any_port(), source);
};

TEST_CASE(
    "A4: the server answers on both sockets, each by its own rules, and lets no type be guessed") {
  Running running;
  const std::string get = "GET /policies HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
  const std::string answer = talk(running.server->admin_address(), get);
  CHECK_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  CHECK_THAT(answer, ContainsSubstring("\r\nContent-Type: application/json\r\n"));
  CHECK_THAT(answer, ContainsSubstring("\r\nX-Content-Type-Options: nosniff\r\n"));
  CHECK_THAT(answer, !ContainsSubstring("Access-Control"));
  CHECK_THAT(answer, EndsWith("]\n"));
  CHECK_THAT(talk(running.server->metrics_address(), get), StartsWith("HTTP/1.1 404 "));
  CHECK_THAT(
      talk(running.server->metrics_address(), "GET /metrics HTTP/1.0\r\nHost: weir.svc\r\n\r\n"),
      ContainsSubstring("\r\n\r\n# HELP weir_build_info "));
}

TEST_CASE("a connection is kept for the next request") {
  Running running;
  const std::string both =
      talk(running.server->admin_address(),
           "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
           "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK_THAT(both, ContainsSubstring("\r\n\r\nok\nHTTP/1.1 200 OK\r\n"));
  CHECK_THAT(both, EndsWith("\r\n\r\nLIVE\n"));
}

TEST_CASE("HEAD has the head of GET and no body") {
  Running running;
  const std::string answer =
      talk(running.server->admin_address(),
           "HEAD /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  CHECK_THAT(answer, ContainsSubstring("\r\nContent-Length: 3\r\n"));
  CHECK_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_CASE("405 names the methods that are allowed") {
  Running running;
  const std::string answer =
      talk(running.server->admin_address(),
           "GET /quitquitquit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK_THAT(answer, StartsWith("HTTP/1.1 405 "));
  CHECK_THAT(answer, ContainsSubstring("\r\nAllow: POST\r\n"));
  CHECK(running.source.quits == 0);
}

TEST_CASE("A2: a page in a browser cannot end the process") {
  Running running;
  const std::string answer =
      talk(running.server->admin_address(),
           "POST /quitquitquit HTTP/1.1\r\nHost: 127.0.0.1:9931\r\nContent-Length: 0\r\n"
           "Origin: http://evil.example\r\nConnection: close\r\n\r\n");
  CHECK_THAT(answer, StartsWith("HTTP/1.1 403 "));
  CHECK(running.source.quits == 0);
}

TEST_CASE("a request that is too big or no request is refused and the connection closed") {
  Running running;
  const auto& address = running.server->admin_address();
  CHECK_THAT(talk(address, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  CHECK_THAT(talk(address, "GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\n"),
             StartsWith("HTTP/1.1 431 "));
  CHECK_THAT(talk(address, "POST /reload HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Length: 1000000\r\n\r\n"),
             StartsWith("HTTP/1.1 413 "));
  CHECK(running.source.reloads == 0);
}

TEST_CASE("A5: connections are bounded, and a full metrics socket leaves the admin socket free") {
  Running running;
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 32; ++i) {
    idle.push_back(connect_to(running.server->metrics_address()));
    // Answered, so that it surely is counted.
    send_all(idle.back(), "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    char byte = 0;
    REQUIRE(::recv(idle.back().get(), &byte, 1, 0) == 1);
  }
  const std::string get = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  CHECK(talk(running.server->metrics_address(), get).empty());
  CHECK_THAT(talk(running.server->admin_address(), get), StartsWith("HTTP/1.1 200 "));
  idle.pop_back();
  // The place is free as soon as the server has seen the end of it.
  std::string answer;
  while (answer.empty()) {
    answer = talk(running.server->metrics_address(), get);
  }
  CHECK_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST_CASE("the server ends with connections open, and its address is free again") {
  test::FakeSource source;
  auto config = any_port();
  auto server = *AdminServer::start(config, source);
  config.admin = server->admin_address();
  const UniqueFd idle = connect_to(server->admin_address());
  const UniqueFd half = connect_to(server->metrics_address());
  send_all(half, "GET /met");
  server.reset();
  CHECK(read_to_end(idle).empty());
  CHECK(read_to_end(half).empty());
  CHECK(AdminServer::start(config, source).has_value());
}

TEST_CASE("an address in use is an error that names the key") {
  Running running;
  test::FakeSource source;
  auto config = any_port();
  config.metrics = running.server->metrics_address();
  const auto second = AdminServer::start(config, source);
  REQUIRE(second.has_error());
  CHECK(second.error().text() ==
        "metrics.address " + config.metrics.to_string() + ": Address already in use");
}

TEST_CASE("IPv6 addresses serve as well") {
  test::FakeSource source;
  auto config = any_port();
  config.admin = *SocketAddress::parse("[::1]:0");
  const auto server = AdminServer::start(config, source);
  REQUIRE(server.has_value());
  const std::string answer =
      talk((*server)->admin_address(),
           "GET /ready HTTP/1.1\r\nHost: [::1]:9931\r\nConnection: close\r\n\r\n");
  CHECK_THAT(answer, EndsWith("LIVE\n"));
}

} // namespace
