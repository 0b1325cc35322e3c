// SIGTERM: no new work, what runs is finished, then the end.
#include "test/integration/listening_socket.h"
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <future>

namespace weir::test {
namespace {

// A server that answers when the test says so.
class HeldServer {
public:
  explicit HeldServer(const Pod& pod) : x_listener(listening_socket(pod.netns(), 80, 8)) {}
  // Returns once a request has arrived.
  void await_request() {
    pollfd waited{x_listener.get(), POLLIN, 0};
    ::poll(&waited, 1, -1);
    x_connection.reset(::accept4(x_listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char buffer[4096];
    if (::recv(x_connection.get(), buffer, sizeof buffer, 0) <= 0) {
      throw std::runtime_error("no request arrived");
    }
  }
  void answer() {
    const std::string_view text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlate\n";
    if (::send(x_connection.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) {
      throw std::runtime_error("nobody waits for the answer");
    }
  }

private:
  UniqueFd x_listener, x_connection;
};

TEST_CASE("SIGTERM lets the request in flight end, closes idle connections and exits 0") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HeldServer server(web);
  lab.policies().publish({{"web.yaml", http_paths("web", "/held")}});
  lab.start_weir();

  auto idle = HttpConnection::open(client.netns(), web.address(Family::kV4), 80);
  REQUIRE(idle);
  const auto denied = idle->request({.target = "/not-allowed"});
  REQUIRE(denied);
  CHECK(denied->status == 403);

  auto busy =
      HttpConnection::open(client.netns(), web.address(Family::kV6), 80, std::chrono::seconds(20));
  REQUIRE(busy);
  auto reply = std::async(std::launch::async, [&] { return busy->request({.target = "/held"}); });
  server.await_request();

  lab.weir().send_signal(SIGTERM);
  CHECK(eventually([&] { return idle->ended(); }));
  CHECK(lab.weir().running());
  server.answer();
  const auto late = reply.get();
  REQUIRE(late);
  CHECK(late->status == 200);
  CHECK(late->body == "late\n");
  CHECK(lab.weir().wait(std::chrono::seconds(20)) == 0);
}

TEST_CASE("after an orderly end nothing redirected leaks, and the next start serves again") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.start_weir();
  const std::string url = "http://" + web.address(Family::kV4) + "/discount";
  CHECK(client.curl({"--max-time", "5", url}).status == 200);
  CHECK(lab.stop_weir() == 0);
  CHECK(client.curl({"--max-time", "1", url + "?away"}).status == 0);
  lab.start_weir();
  CHECK(client.curl({"--max-time", "5", url}).status == 200);
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : server.requests_before("/end")) {
    CHECK(line.find("away") == std::string::npos);
  }
}

} // namespace
} // namespace weir::test
