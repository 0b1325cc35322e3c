// Counts what the request path takes from the heap, with the real session, sockets and reactor, and
// a policy that is compiled from YAML.
#include "policy-compiler/compile.h"
#include "proxy/net/socket_stream.h"
#include "proxy/runtime/gate.h"
#include "proxy/session/http_session.h"
#include "test/support/allocations.h"
#include "test/support/formatting_log.h"
#include "test/unit/policy-compiler/fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>

using namespace weir;
namespace asio = boost::asio;

namespace {

class FlowJudge final : public session::HttpJudge {
public:
  explicit FlowJudge(policy::FlowDecision flow) : x_flow(std::move(flow)) {}
  bool refresh() override { return true; }
  [[nodiscard]] policy::L7Decision judge(const policy::HttpRequest& request) const override {
    return policy::judge_http(x_flow, request);
  }
  [[nodiscard]] Labels labels() const override { return {"ingress", {}, {}}; }

private:
  policy::FlowDecision x_flow;
};

// One end as a Stream, the other as a descriptor in the hands of the test.
std::unique_ptr<net::Stream> make_stream(asio::io_context& context, int& peer) {
  int fds[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  peer = fds[1];
  asio::ip::tcp::socket socket(context);
  socket.assign(asio::ip::tcp::v4(), fds[0]);
  return std::make_unique<net::SocketStream>(std::move(socket));
}

class PairConnector final : public net::Connector {
public:
  PairConnector(asio::io_context& context, int& peer) : x_context(context), x_peer(peer) {}
  asio::awaitable<Connected> connect() override {
    co_return Connected{{}, make_stream(x_context, x_peer)};
  }

private:
  asio::io_context& x_context;
  int& x_peer;
};

struct Fixture {
  Fixture() : service(config, metrics, log, 0) {
    policies
        .policy("api",
                "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: "
                "[{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: "
                "TCP}], rules: {http: [{method: GET, path: \"/a/[0-9]+\"}, {method: POST, "
                "path: /b, headers: [\"X-Token: t\"]}]}}]}]}")
        .compile();
    auto stream = make_stream(context, client);
    gate.spawn(session::HttpSession::serve(std::make_unique<session::HttpSession>(
        service, std::move(stream),
        std::make_unique<FlowJudge>(policies.ingress(policy::test::Fixture::kClient, 80)),
        std::make_unique<PairConnector>(context, server), "10.0.0.1")));
    poll();
  }
  ~Fixture() {
    gate.close();
    poll();
    ::close(client);
    ::close(server);
  }
  void poll() {
    context.restart();
    context.poll();
  }
  static void send(int fd, std::string_view bytes) {
    REQUIRE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  static std::string_view receive(int fd, std::span<char> into) {
    const ssize_t got = ::recv(fd, into.data(), into.size(), MSG_DONTWAIT);
    return got > 0 ? std::string_view(into.data(), static_cast<std::size_t>(got))
                   : std::string_view{};
  }
  // Allocations of the session for one exchange.
  std::size_t exchange(std::string_view request, std::string_view answer) {
    char buffer[8192];
    send(client, request);
    std::size_t allocations = test::allocations_of([this] { poll(); });
    REQUIRE_FALSE(receive(server, buffer).empty());
    send(server, answer);
    allocations += test::allocations_of([this] { poll(); });
    REQUIRE(receive(client, buffer) == answer);
    return allocations;
  }

  policy::test::Fixture policies;
  asio::io_context context{1};
  config::Http config;
  WorkerMetrics metrics;
  test::FormattingLog log;
  session::HttpService service;
  runtime::Gate gate{context};
  int client = -1, server = -1;
};

} // namespace

// Two read buffers, vectors and strings of both messages, the server's stream, coroutines' frames.
constexpr std::size_t kFirstExchange = 16;

TEST_CASE("in steady state a request takes nothing from the heap") {
  struct Exchange {
    std::string_view what, request, answer;
  };
  for (const Exchange& e : {
           Exchange{"GET",
                    "GET /a/1 HTTP/1.1\r\nHost: shop\r\nUser-Agent: some longer text\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
           Exchange{
               "POST with a body",
               "POST /b HTTP/1.1\r\nHost: shop\r\nX-Token: t\r\nContent-Length: 5\r\n\r\nhello",
               "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
           Exchange{"chunks both ways",
                    "POST /b HTTP/1.1\r\nHost: shop\r\nX-Token: t\r\nTransfer-Encoding: chunked\r\n"
                    "\r\n5\r\nhello\r\n0\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
           Exchange{"dots to be removed", "GET /b/../a/%31 HTTP/1.1\r\nHost: SHOP.\r\n\r\n",
                    "HTTP/1.1 204 No Content\r\n\r\n"},
       }) {
    INFO(e.what);
    Fixture f;
    // Buffers are made, each at once large enough for what is usual; and the count works.
    const std::size_t first = f.exchange(e.request, e.answer);
    CHECK(first > 0);
    CHECK(first <= kFirstExchange);
    for (int i = 0; i < 20; ++i) {
      f.exchange(e.request, e.answer);
    }
    std::size_t total = 0;
    for (int i = 0; i < 200; ++i) {
      total += f.exchange(e.request, e.answer);
    }
    CHECK(total == 0);
  }
}
