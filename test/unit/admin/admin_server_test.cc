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

admin::FlowRow dropped(const std::string& pod) {
  admin::FlowRow row;
  row.time = std::chrono::sys_days(std::chrono::year(2026) / 11 / 24);
  row.reason = "POLICY_DENIED";
  row.direction = "egress";
  row.protocol = "TCP";
  row.source = {"shop", pod, *IpAddress::parse("10.0.1.11"), 40112, 256, ""};
  row.destination = {"", "", *IpAddress::parse("203.0.113.9"), 443, 9, "world-ipv4"};
  row.policy = "default-deny";
  return row;
}

// Reads until all of `text` has come; what has come.
std::string read_until(const UniqueFd& fd, const std::string& text) {
  std::string all;
  char chunk[4096];
  while (all.find(text) == std::string::npos) {
    const ssize_t got = ::recv(fd.get(), chunk, sizeof chunk, 0);
    if (got <= 0) {
      break;
    }
    all.append(chunk, static_cast<std::size_t>(got));
  }
  return all;
}

TEST_CASE("flows are listed by pod and verdict; a wrong question is told so") {
  Running running;
  running.source.flow_log.add(dropped("client"));
  running.source.flow_log.add(dropped("other"));
  const auto get = [&](const std::string& query) {
    return talk(running.server->admin_address(), "GET /flows" + query +
                                                     " HTTP/1.1\r\nHost: localhost\r\n"
                                                     "Connection: close\r\n\r\n");
  };
  CHECK_THAT(get("?pod=shop/client&verdict=DROPPED"),
             EndsWith("[{\"time\":\"2026-11-24T00:00:00.000000Z\",\"verdict\":\"DROPPED\","
                      "\"direction\":\"egress\",\"protocol\":\"TCP\",\"source\":{"
                      "\"namespace\":\"shop\",\"pod\":\"client\",\"ip\":\"10.0.1.11\","
                      "\"port\":40112,\"identity\":256},\"destination\":{\"ip\":"
                      "\"203.0.113.9\",\"port\":443,\"identity\":9,\"entity\":"
                      "\"world-ipv4\"},\"reason\":\"POLICY_DENIED\",\"policy\":"
                      "\"default-deny\"}]\n"));
  CHECK_THAT(get("?last=1"), ContainsSubstring("\"pod\":\"other\""));
  CHECK_THAT(get("?last=1"), !ContainsSubstring("\"pod\":\"client\""));
  CHECK_THAT(get("?verdict=FORWARDED"), EndsWith("\r\n\r\n[]\n"));
  for (const char* wrong : {"?last=x", "?last=-1", "?pod=client", "?verdict=dropped", "?follow=yes",
                            "?nonsense=1", "?pod=%zz"}) {
    INFO(wrong);
    CHECK_THAT(get(wrong), StartsWith("HTTP/1.1 400 "));
  }
}

TEST_CASE("flows are followed as they come, in HTTP/1.1 by chunks") {
  Running running;
  running.source.flow_log.add(dropped("past"));
  for (const std::string version : {"1.1", "1.0"}) {
    INFO(version);
    const UniqueFd fd = connect_to(running.server->admin_address());
    send_all(fd, "GET /flows?follow=true&last=1 HTTP/" + version + "\r\nHost: localhost\r\n\r\n");
    std::string got = read_until(fd, "}\n");
    CHECK_THAT(got, StartsWith("HTTP/" + version + " 200 OK\r\n"));
    CHECK_THAT(got, ContainsSubstring("\r\nContent-Type: application/x-ndjson\r\n"));
    CHECK((got.find("Transfer-Encoding: chunked") != std::string::npos) == (version == "1.1"));
    running.source.flow_log.add(dropped("first"));
    CHECK_THAT(read_until(fd, "\"pod\":\"first\""), ContainsSubstring("first"));
    running.source.flow_log.add(dropped("second"));
    CHECK_THAT(read_until(fd, "\"pod\":\"second\""), ContainsSubstring("second"));
    running.source.flow_log.add(dropped("past"));
  }
}

TEST_CASE("a follower that does not read holds up nobody, and is told what it has missed") {
  Running running;
  const UniqueFd slow = connect_to(running.server->admin_address());
  send_all(slow, "GET /flows?follow=true HTTP/1.0\r\nHost: localhost\r\n\r\n");
  CHECK_THAT(read_until(slow, "\r\n\r\n"), StartsWith("HTTP/1.0 200 "));
  // Far more than the sockets' buffers and the log hold.
  for (int i = 0; i < 100'000; ++i) {
    running.source.flow_log.add(dropped("flood"));
  }
  const std::string other =
      talk(running.server->admin_address(), "GET /livez HTTP/1.1\r\nHost: localhost\r\n"
                                            "Connection: close\r\n\r\n");
  CHECK_THAT(other, EndsWith("ok\n"));
  CHECK_THAT(read_until(slow, "{\"missed\":"), ContainsSubstring("{\"missed\":"));
  CHECK(running.source.flow_log.missed() > 0);
}

TEST_CASE("a follower that is gone makes room for another") {
  Running running;
  const std::string follow = "GET /flows?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (std::size_t round = 0; round < 3; ++round) {
    std::vector<UniqueFd> followers;
    for (std::size_t i = 0; i < FlowFollowers::kMost; ++i) {
      followers.push_back(connect_to(running.server->admin_address()));
      send_all(followers.back(), follow);
      // Those that have just gone may still be counted for a moment.
      std::string answer = read_until(followers.back(), "\r\n\r\n");
      while (round > 0 && answer.starts_with("HTTP/1.1 503 ")) {
        followers.back() = connect_to(running.server->admin_address());
        send_all(followers.back(), follow);
        answer = read_until(followers.back(), "\r\n\r\n");
      }
      REQUIRE_THAT(answer, StartsWith("HTTP/1.1 200 "));
    }
    CHECK_THAT(talk(running.server->admin_address(),
                    "GET /flows?follow=true HTTP/1.1\r\nHost: localhost\r\n"
                    "Connection: close\r\n\r\n"),
               StartsWith("HTTP/1.1 503 "));
  }
}

} // namespace
