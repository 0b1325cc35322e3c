// weir-proxy with joined sockets: the same verdicts, by the short way; switched while it runs;
// killed, it leaves pods neither stuck nor unjudged.
#include "test/integration/endless_server.h"
#include "test/integration/policies.h"
#include "test/integration/sentinel.h"
#include "test/integration/shop.h"
#include "test/support/kernel.h"
#include "test/support/process_memory.h"

#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <sys/resource.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

namespace weir::test {
namespace {

std::int64_t shown(Lab& lab, const char* key) {
  return lab.admin_json("/acceleration").at(key).to_number<std::int64_t>();
}

bool is_on(Lab& lab) { return lab.admin_json("/acceleration").at("enabled").as_bool(); }

// Requests on one connection; curl's sockets do not block.
std::vector<std::string> requests(const std::string& url, int count) {
  std::vector<std::string> arguments{"--max-time", "5"};
  for (int i = 0; i < count; ++i) {
    arguments.push_back(url);
  }
  return arguments;
}

struct FastShop : Shop {
  FastShop() {
    lab.policies().publish({{"web.yaml", kHttpIngress}});
    lab.set_acceleration("{enabled: true, pods: [\"shop/*\"]}");
    lab.start_weir();
  }
  [[nodiscard]] std::string url(Family family, const std::string& target) const {
    return "http://" + url_host(web.address(family)) + target;
  }

  HttpServer& server = lab.serve_http(web);
};

std::chrono::seconds kill_time() {
  const char* const wanted = std::getenv("WEIR_KILL_SECONDS");
  return std::chrono::seconds(wanted != nullptr ? std::atoi(wanted) : 3);
}

TEST_CASE("joined sockets carry what is allowed, and what is denied is denied as ever") {
  require_root();
  require_joined_sockets();
  FastShop shop;
  REQUIRE(is_on(shop.lab));
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const auto to_proxy = shown(shop.lab, "bytes_to_proxy");
    const auto to_pods = shown(shop.lab, "bytes_to_pods");
    const CurlResult allowed = shop.client.curl(requests(shop.url(family, "/discount"), 3));
    INFO(allowed.text);
    CHECK(allowed.status == 200);
    CHECK(shown(shop.lab, "bytes_to_proxy") > to_proxy);
    CHECK(shown(shop.lab, "bytes_to_pods") > to_pods);
    CHECK(shop.client.curl({"--max-time", "5", shop.url(family, "/other")}).status == 403);
    CHECK(shop.stranger.curl({"--max-time", "5", shop.url(family, "/discount?stranger")}).status ==
          0);
  }
  CHECK(shop.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : shop.server.requests_before("/end")) {
    CHECK(line.ends_with("GET /discount 200"));
  }
}

TEST_CASE("acceleration is switched on and off while weir runs") {
  require_root();
  require_joined_sockets();
  FastShop shop;
  const std::string url = shop.url(Family::kV4, "/discount");
  for (const bool on : {false, true}) {
    INFO("on: " << on);
    REQUIRE(shop.lab.admin("/acceleration?enabled=" + std::string(on ? "true" : "false"), "POST")
                ->status == 200);
    REQUIRE(eventually([&] { return is_on(shop.lab) == on; }));
    CHECK(shop.lab.admin_json("/acceleration").at("reason") == (on ? "" : "switched off"));
    const auto before = shown(shop.lab, "bytes_to_proxy");
    CHECK(shop.client.curl(requests(url, 2)).status == 200);
    CHECK((shown(shop.lab, "bytes_to_proxy") > before) == on);
  }
}

TEST_CASE(
    "S1: killed again and again under accelerated load, weir leaks nothing and nobody hangs") {
  require_root();
  require_joined_sockets();
  FastShop shop;
  const auto allowed = [&](Family family) {
    return [&shop, family] {
      const CurlResult result = shop.client.curl(requests(shop.url(family, "/discount"), 20));
      if (result.exit_code == kCurlTimeout) {
        return false; // while no weir is there, nobody answers a SYN
      }
      return result.status == 200;
    };
  };
  const auto denied = [&](const Pod& pod, Family family, const std::string& target) {
    return [&shop, &pod, family, target] {
      auto connection = HttpConnection::open(pod.netns(), shop.web.address(family), 80,
                                             std::chrono::milliseconds(30));
      const auto reply =
          connection ? connection->request({.target = target}) : std::optional<HttpReply>{};
      return reply && reply->status == 200;
    };
  };
  const auto until = std::chrono::steady_clock::now() + kill_time();
  unsigned kills = 0, answered = 0;
  {
    Sentinel load4(allowed(Family::kV4)), load6(allowed(Family::kV6));
    Sentinel by_policy(denied(shop.stranger, Family::kV4, "/discount?stranger"));
    Sentinel by_rule(denied(shop.client, Family::kV6, "/discount?denied"));
    while (std::chrono::steady_clock::now() < until) {
      const unsigned before = load4.passed();
      REQUIRE(eventually([&] { return load4.passed() > before && is_on(shop.lab); }));
      shop.lab.kill_weir();
      ++kills;
      shop.lab.start_weir();
    }
    const unsigned before4 = load4.passed(), before6 = load6.passed();
    CHECK(eventually([&] { return load4.passed() > before4 && load6.passed() > before6; }));
    for (Sentinel* sentinel : {&load4, &load6, &by_policy, &by_rule}) {
      sentinel->stop();
    }
    answered = load4.passed() + load6.passed();
    CHECK(by_policy.attempts() > 0);
    CHECK(by_rule.attempts() > 0);
    CHECK(by_policy.passed() == 0);
    CHECK(by_rule.passed() == 0);
  }
  CHECK(shown(shop.lab, "bytes_to_proxy") > 0);
  CHECK(shop.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : shop.server.requests_before("/end")) {
    CHECK(line.find('?') == std::string::npos);
  }
  WARN(kills << " kills, " << answered << " times 20 requests answered in between");
}

TEST_CASE("a connection that waits for its next request ends when weir is killed") {
  require_root();
  require_joined_sockets();
  FastShop shop;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    auto connection = HttpConnection::open(shop.client.netns(), shop.web.address(family), 80);
    REQUIRE(connection);
    CHECK(connection->request({.target = "/discount"})->status == 200);
    shop.lab.kill_weir();
    CHECK(eventually([&] { return connection->ended(); }));
    shop.lab.start_weir();
  }
}

// A connection of the pod whose answer has no end and is not read.
UniqueFd ask_and_never_read(const Pod& pod, const std::string& address) {
  return pod.netns().on_thread([&] {
    // Sockets that block are not joined.
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(80);
    REQUIRE(::inet_pton(AF_INET, address.c_str(), &to.sin_addr) == 1);
    REQUIRE((::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ||
             errno == EINPROGRESS));
    pollfd waited{fd.get(), POLLOUT, 0};
    REQUIRE(::poll(&waited, 1, 20'000) == 1);
    const std::string request = "GET /discount HTTP/1.1\r\nHost: endless\r\n\r\n";
    REQUIRE(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(request.size()));
    return fd;
  });
}

TEST_CASE("a thousand readers that never read hold a bounded memory, and others are served") {
  require_root();
  require_joined_sockets();
  constexpr unsigned kReaders = 1000;
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.set_acceleration("{enabled: true, pods: [\"shop/*\"]}");
  lab.start_weir();
  const EndlessServer server(web.netns(), 80);
  std::size_t held[2] = {};
  for (const bool joined : {false, true}) {
    INFO("joined: " << joined);
    REQUIRE(lab.admin("/acceleration?enabled=" + std::string(joined ? "true" : "false"), "POST")
                ->status == 200);
    REQUIRE(eventually([&] { return is_on(lab) == joined; }));
    const std::size_t memory = process_memory(lab.weir().pid(), "RssAnon:");
    const auto sockets = shown(lab, "sockets_joined");
    const std::uint64_t given = server.given();
    std::vector<UniqueFd> readers;
    for (unsigned i = 0; i < kReaders; ++i) {
      readers.push_back(ask_and_never_read(client, web.address(Family::kV4)));
    }
    REQUIRE(eventually([&] { return server.answering() == kReaders; }, std::chrono::seconds(60)));
    // Until nobody takes any more. Looks are counted, not time, in which the whole machine may
    // stand still.
    std::uint64_t last = 0;
    unsigned unchanged = 0;
    REQUIRE(eventually(
        [&] {
          unchanged = server.given() == last ? unchanged + 1 : 0;
          last = server.given();
          return unchanged == 400; // one each 5 ms
        },
        std::chrono::seconds(90)));
    held[joined ? 1 : 0] = (server.given() - given) / kReaders;
    CHECK((shown(lab, "sockets_joined") > sockets) == joined);
    const std::size_t grown = process_memory(lab.weir().pid(), "RssAnon:") - memory;
    WARN((joined ? "joined: " : "by TCP: ")
         << held[joined ? 1 : 0] / 1024 << " KiB on the way to each reader, "
         << grown / kReaders / 1024 << " KiB in weir");
    CHECK(grown < kReaders * 256 * 1024);
    for (const Family family : {Family::kV4, Family::kV6}) {
      auto other = HttpConnection::open(client.netns(), web.address(family), 80);
      REQUIRE(other);
      const auto reply = other->request({.target = "/discount", .host = "small"});
      REQUIRE(reply);
      CHECK(reply->body == "ok");
    }
    readers.clear();
    REQUIRE(eventually([&] { return server.answering() == 0; }, std::chrono::seconds(60)));
  }
  CHECK(held[1] <= held[0] + 1024 * 1024);
}

} // namespace
} // namespace weir::test
