#include "proxy/net/resolver.h"

#include "proxy/dns/message.h"
#include "test/unit/dns/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

using namespace weir;
namespace asio = boost::asio;
using asio::ip::udp;

namespace {

// Answers questions about the names it knows, on a socket of its own.
class Server {
public:
  explicit Server(asio::io_context& context)
      : x_socket(context, udp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    receive();
  }
  [[nodiscard]] std::string address() const {
    return "127.0.0.1:" + std::to_string(x_socket.local_endpoint().port());
  }

  bool silent = false;
  unsigned questions = 0;

private:
  void receive() {
    x_socket.async_receive_from(asio::buffer(x_bytes), x_from,
                                [this](boost::system::error_code failed, std::size_t size) {
                                  if (!failed) {
                                    answer({x_bytes, x_bytes + size});
                                    receive();
                                  }
                                });
  }
  void answer(std::vector<std::uint8_t> query) {
    ++questions;
    if (silent) {
      return;
    }
    const auto id = static_cast<std::uint16_t>(query[0] << 8 | query[1]);
    std::string asked;
    std::size_t at = 12;
    while (query.at(at) != 0) {
      asked.append(asked.empty() ? "" : ".")
          .append(query.begin() + at + 1, query.begin() + at + 1 + query[at]);
      at += 1 + query[at];
    }
    const std::uint16_t type = query.at(at + 2);
    test::Wire reply = test::Wire::response(id, asked, type);
    if (asked == "api.example.test" && type == 1) {
      reply.cname(asked, "real.example.test").a("real.example.test", {192, 0, 2, 1});
    } else if (asked == "api.example.test" && type == 28) {
      reply.cname(asked, "real.example.test").aaaa("real.example.test", "2001:db8::1");
    }
    const auto& bytes = reply.bytes();
    x_socket.send_to(asio::buffer(bytes.data(), bytes.size()), x_from);
  }

  udp::socket x_socket;
  udp::endpoint x_from;
  std::uint8_t x_bytes[512];
};

struct Fixture {
  // Who need not wait for the end of its patience has more than a stalled machine takes.
  std::unique_ptr<net::Resolver>
  open(std::chrono::milliseconds patience = std::chrono::minutes(1)) {
    auto opened = net::Resolver::open(context, {.servers = server.address(), .patience = patience});
    REQUIRE(opened.has_value());
    return std::move(*opened);
  }
  void ask(net::Resolver& resolver, const std::string& name) {
    asio::co_spawn(context, run(resolver, name, answers[name]), asio::detached);
  }
  // Until everything has been answered.
  void wait() {
    while (
        std::any_of(answers.begin(), answers.end(), [](const auto& one) { return !one.second; })) {
      context.run_one();
    }
  }

  asio::io_context context;
  Server server{context};
  std::map<std::string, std::optional<Result<std::vector<IpAddress>>>> answers;

private:
  static asio::awaitable<void> run(net::Resolver& resolver, std::string name,
                                   std::optional<Result<std::vector<IpAddress>>>& answer) {
    answer = co_await resolver.resolve(std::move(name));
  }
};

std::vector<std::string> texts(const std::optional<Result<std::vector<IpAddress>>>& answer) {
  REQUIRE(answer->has_value());
  std::vector<std::string> out;
  for (const IpAddress& address : answer->value()) {
    out.push_back(address.to_string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace

TEST_CASE("a name has its addresses of both families, an address is its own") {
  Fixture f;
  const auto resolver = f.open();
  f.ask(*resolver, "api.example.test");
  f.ask(*resolver, "192.0.2.7");
  f.ask(*resolver, "2001:db8::7");
  f.ask(*resolver, "localhost");
  f.wait();
  CHECK(texts(f.answers["api.example.test"]) ==
        std::vector<std::string>{"192.0.2.1", "2001:db8::1"});
  CHECK(texts(f.answers["192.0.2.7"]) == std::vector<std::string>{"192.0.2.7"});
  CHECK(texts(f.answers["2001:db8::7"]) == std::vector<std::string>{"2001:db8::7"});
  CHECK_FALSE(texts(f.answers["localhost"]).empty());
  CHECK(f.server.questions == 2);
}

TEST_CASE("a name without addresses and a server without answers are errors that name the name") {
  Fixture f;
  const auto patient = f.open(), hasty = f.open(std::chrono::milliseconds(100));
  f.ask(*patient, "none.example.test");
  f.wait();
  const auto& none = f.answers["none.example.test"];
  REQUIRE(none->has_error());
  CHECK(none->error().code == std::errc::address_not_available);
  CHECK(none->error().text().find("none.example.test") != std::string::npos);
  f.server.silent = true;
  f.ask(*hasty, "api.example.test");
  f.wait();
  REQUIRE(f.answers["api.example.test"]->has_error());
  CHECK(f.answers["api.example.test"]->error().code == std::errc::timed_out);
}

TEST_CASE("look-ups under way end with the resolver") {
  Fixture f;
  f.server.silent = true;
  auto resolver = f.open();
  f.ask(*resolver, "api.example.test");
  f.ask(*resolver, "other.example.test");
  while (f.server.questions < 2) {
    f.context.run_one();
  }
  resolver.reset();
  f.wait();
  CHECK(f.answers["api.example.test"]->has_error());
  CHECK(f.answers["other.example.test"]->has_error());
}

TEST_CASE("servers that are no addresses are refused") {
  asio::io_context context;
  CHECK_FALSE(net::Resolver::open(context, {.servers = "nonsense"}).has_value());
}
