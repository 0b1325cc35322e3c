#include "proxy/session/dns_tcp_session.h"

#include "proxy/session/dns_tcp_upstream.h"
#include "test/unit/dns/session_fixture.h"
#include "test/unit/dns/wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <set>
#include <string>
#include <vector>

namespace weir::session {
namespace {

using dns::Bytes;
using dns::Rcode;
using test::name;
using test::ServiceFixture;
using test::TestSocket;
using test::Wire;
using namespace std::chrono_literals;

constexpr std::uint16_t kA = 1;

DnsOptions patient() {
  DnsOptions options;
  options.upstream_timeout = 60s;
  options.tcp_idle = 60s;
  return options;
}

// A client's connection, accepted and given to a session whose upstream the test plays.
class TcpFixture : public ServiceFixture {
public:
  explicit TcpFixture(DnsOptions options = patient(), std::string_view any = "127.0.0.1:0")
      : ServiceFixture(std::move(options)), upstream(SOCK_STREAM, any),
        client(connect_session(any)) {}
  ~TcpFixture() { stop(); }

  TestSocket upstream;
  TestSocket client;

private:
  TestSocket connect_session(std::string_view any) {
    TestSocket door(SOCK_STREAM, any);
    TestSocket connecting = TestSocket::connected(door.address());
    const int accepted = door.accept().release();
    const DnsFlow flow{ClientAddr{connecting.address()}, OriginalDst{upstream.address()},
                       IPPROTO_TCP, std::nullopt};
    on_worker([&] {
      using boost::asio::ip::tcp;
      tcp::socket socket(worker.context(), flow.client.value.ip.is_v4() ? tcp::v4() : tcp::v6(),
                         accepted);
      worker.gate().spawn(serve_dns_tcp(service, std::move(socket), flow, policy));
    });
    return connecting;
  }
};

Bytes answer_to(const Bytes& query, std::string_view asked) {
  return Wire::response(dns::message_id(query), asked, kA).a(asked, {192, 0, 2, 1});
}

TEST_CASE("D14: pipelined queries, written byte by byte, are answered in their order") {
  TcpFixture f;
  Bytes stream;
  for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}}) {
    const Bytes frame = dns::framed(Wire::query(id, "n" + std::to_string(id) + ".com", kA));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  const int no_delay = 1;
  REQUIRE(::setsockopt(f.client.fd(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof no_delay) == 0);
  for (const auto& byte : stream) {
    f.client.write({&byte, 1});
  }
  TestSocket server = f.upstream.accept();
  for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}}) {
    const auto asked = "n" + std::to_string(id) + ".com";
    const Bytes seen = server.read_message(); // all over one connection
    CHECK(dns::parse_query(seen).query->question.name == name(asked));
    const Bytes frame = dns::framed(answer_to(seen, asked));
    for (const auto& byte : frame) {
      server.write({&byte, 1});
    }
    Bytes expected = answer_to(seen, asked);
    dns::set_message_id(expected, id);
    CHECK(f.client.read_message() == expected);
  }
  CHECK(f.policy->learned().size() == 3);
}

TEST_CASE("A denied query among allowed ones is refused at once, and never seen upstream") {
  TcpFixture f;
  const Bytes denied = Wire::query(2, "www.denied", kA);
  for (const Bytes& query :
       {Wire::query(1, "a.com", kA).bytes(), denied, Wire::query(3, "b.com", kA).bytes()}) {
    f.client.write(dns::framed(query));
  }
  CHECK(f.client.read_message() == dns::make_refusal(denied, Rcode::kRefused));
  TestSocket server = f.upstream.accept();
  for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{3}}) {
    const std::string asked = id == 1 ? "a.com" : "b.com";
    const Bytes seen = server.read_message();
    CHECK(dns::parse_query(seen).query->question.name == name(asked));
    server.write(dns::framed(answer_to(seen, asked)));
    CHECK(dns::message_id(f.client.read_message()) == id);
  }
}

TEST_CASE("D14: answers that come out of order go back as they come, each with its own id") {
  TcpFixture f;
  for (std::uint16_t id = 1; id <= 4; ++id) {
    f.client.write(dns::framed(Wire::query(id, "n" + std::to_string(id) + ".com", kA)));
  }
  TestSocket server = f.upstream.accept();
  std::vector<Bytes> seen;
  for (int i = 0; i < 4; ++i) {
    seen.push_back(server.read_message());
  }
  for (const std::size_t i : {2, 0, 3, 1}) {
    const std::string asked = "n" + std::to_string(i + 1) + ".com";
    server.write(dns::framed(answer_to(seen[i], asked)));
    const Bytes answer = f.client.read_message();
    CHECK(dns::message_id(answer) == i + 1);
    CHECK(dns::parse_response(answer)->question.name == name(asked));
  }
}

class Question final : public DnsQuestion {
public:
  Question(const SocketAddress& server, const std::string& asked)
      : DnsQuestion(DnsFlow{{}, {server}, IPPROTO_TCP, {}}, Wire::query(1, asked, kA),
                    Clock::now()) {
    query = *dns::parse_query(message).query;
  }
  void answered(std::span<std::uint8_t> /*answer*/) override { is_answered = true; }
  void failed(DnsRefused /*why*/) override { has_failed = true; }

  bool is_answered = false, has_failed = false;
};

// One whose time is over is withdrawn: here when the test says so, and not by a clock that would
// run for the others as well.
TEST_CASE("D14: one query whose answer does not come holds up no other of its connection") {
  boost::asio::io_context context{1};
  runtime::Gate gate(context);
  WorkerMetrics metrics;
  DnsIds ids;
  TestSocket door(SOCK_STREAM, "127.0.0.1:0");
  Question slow(door.address(), "slow.com"), fast(door.address(), "fast.com"),
      next(door.address(), "next.com");
  {
    DnsTcpUpstream upstream(context, gate, metrics, ids);
    const auto run_until = [&](const auto& done) {
      while (!done() && context.run_one_for(20s) > 0) {
      }
      REQUIRE(done());
    };
    REQUIRE(upstream.ask(slow));
    REQUIRE(upstream.ask(fast));
    run_until([&] { return door.has_something(); });
    TestSocket server = door.accept();
    run_until([&] { return server.has_something(); });
    const Bytes late = server.read_message();
    server.write(dns::framed(answer_to(server.read_message(), "fast.com")));
    run_until([&] { return fast.is_answered; });

    upstream.withdraw(slow, true);
    REQUIRE(upstream.ask(next));
    run_until([&] { return server.has_something(); }); // over the same connection
    server.write(dns::framed(answer_to(late, "slow.com")));
    server.write(dns::framed(answer_to(server.read_message(), "next.com")));
    run_until([&] { return next.is_answered; });
  }
  CHECK_FALSE(slow.is_answered);
  CHECK_FALSE((slow.has_failed || fast.has_failed || next.has_failed));
  CHECK(metrics.dns_mismatched.value() == 1);
  gate.close();
  context.run();
}

TEST_CASE("D14: a client that floods its connection is read no further than a bound") {
  TcpFixture f;
  Bytes stream;
  constexpr std::uint16_t kQueries = 300;
  for (std::uint16_t id = 0; id < kQueries; ++id) {
    const Bytes frame = dns::framed(Wire::query(id, "a.com", kA));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  f.client.write(stream);
  TestSocket server = f.upstream.accept();
  std::set<std::uint16_t> answered;
  Bytes first = server.read_message();
  CHECK(f.on_worker([&] { return f.service.in_flight(); }) <= 64);
  server.write(dns::framed(answer_to(first, "a.com")));
  answered.insert(dns::message_id(f.client.read_message()));
  for (int i = 1; i < kQueries; ++i) {
    server.write(dns::framed(answer_to(server.read_message(), "a.com")));
    answered.insert(dns::message_id(f.client.read_message()));
  }
  CHECK(answered.size() == kQueries);
}

TEST_CASE("D14: a client that closes its half still gets the answers that it waits for") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  f.client.write(dns::framed(Wire::query(2, "b.com", kA)));
  REQUIRE(::shutdown(f.client.fd(), SHUT_WR) == 0);
  TestSocket server = f.upstream.accept();
  server.write(dns::framed(answer_to(server.read_message(), "a.com")));
  server.write(dns::framed(answer_to(server.read_message(), "b.com")));
  CHECK(dns::message_id(f.client.read_message()) == 1);
  CHECK(dns::message_id(f.client.read_message()) == 2);
  CHECK(f.client.at_end());
}

TEST_CASE("A server that closed the connection between two queries is asked over a new one") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  {
    TestSocket server = f.upstream.accept();
    server.write(dns::framed(answer_to(server.read_message(), "a.com")));
    f.client.read_message();
  }
  f.client.write(dns::framed(Wire::query(2, "b.com", kA)));
  TestSocket server = f.upstream.accept();
  server.write(dns::framed(answer_to(server.read_message(), "b.com")));
  CHECK(dns::message_id(f.client.read_message()) == 2);
}

TEST_CASE("A server that closes instead of answering is SERVFAIL, and the session goes on") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  {
    TestSocket server = f.upstream.accept();
    server.read_message();
  }
  CHECK(dns::message_rcode(f.client.read_message()) == Rcode::kServFail);
  CHECK(f.log.lines().at(0).reason == "upstream-closed");
  f.client.write(dns::framed(Wire::query(2, "b.com", kA)));
  TestSocket server = f.upstream.accept();
  server.write(dns::framed(answer_to(server.read_message(), "b.com")));
  CHECK(dns::message_id(f.client.read_message()) == 2);
}

TEST_CASE("D15: a server that says nothing over TCP is SERVFAIL") {
  auto options = patient();
  options.upstream_timeout = 30ms;
  TcpFixture f(options);
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  TestSocket server = f.upstream.accept();
  CHECK(dns::message_rcode(f.client.read_message()) == Rcode::kServFail);
  CHECK(f.log.lines().at(0).reason == "upstream-timeout");
}

TEST_CASE("D1: over TCP, too, an answer with another id or question is waited past") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  TestSocket server = f.upstream.accept();
  const Bytes seen = server.read_message();
  Bytes other_id = answer_to(seen, "a.com");
  dns::set_message_id(other_id, static_cast<std::uint16_t>(dns::message_id(seen) + 1));
  server.write(dns::framed(other_id));
  server.write(dns::framed(answer_to(seen, "b.com")));
  server.write(dns::framed({}));
  server.write(dns::framed(answer_to(seen, "a.com")));
  CHECK(dns::message_rcode(f.client.read_message()) == Rcode::kNoError);
  CHECK(f.worker.metrics().dns_mismatched.value() == 3);
}

TEST_CASE("D14: an answer of 65535 bytes comes back whole") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  TestSocket server = f.upstream.accept();
  auto large = Wire::response(dns::message_id(server.read_message()), "a.com", kA);
  while (large.bytes().size() < 60000) {
    large.record("a.com", 16, 60, std::string(240, 'x'));
  }
  large.record("a.com", 16, 60, std::string(65535 - large.bytes().size() - 17, 'y'));
  REQUIRE(large.bytes().size() == 65535);
  server.write(dns::framed(large));
  Bytes expected = large;
  dns::set_message_id(expected, 1);
  CHECK(f.client.read_message() == expected);
}

TEST_CASE("D14: a length that lies, or is nothing, ends the session with nothing sent upstream") {
  {
    TcpFixture f;
    Bytes frame = dns::framed(Wire::query(1, "a.com", kA));
    ++frame[1];
    f.client.write(frame);
    REQUIRE(::shutdown(f.client.fd(), SHUT_WR) == 0);
    CHECK(f.client.at_end());
    CHECK_FALSE(f.upstream.has_something());
  }
  {
    TcpFixture f;
    f.client.write(dns::framed({}));
    CHECK(f.client.at_end());
  }
}

TEST_CASE("D13: a stream that carries no query is closed without an answer") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::response(1, "a.com", kA)));
  CHECK(f.client.at_end());
}

TEST_CASE("D14: an idle client's connection is closed") {
  auto options = patient();
  options.tcp_idle = 20ms;
  TcpFixture f(options);
  f.client.write(Bytes{0});
  CHECK(f.client.at_end());
  f.stop();
  CHECK(f.worker.metrics().dns_tcp_connections_opened.value() == 1);
  CHECK(f.worker.metrics().dns_tcp_connections_closed.value() == 1);
}

TEST_CASE("Stopping the worker ends a session that waits for its server") {
  TcpFixture f;
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  TestSocket server = f.upstream.accept();
  server.read_message();
  f.stop();
  CHECK(f.client.at_end());
}

TEST_CASE("N1: DNS over TCP goes over IPv6 as well") {
  TcpFixture f(patient(), "[::1]:0");
  f.client.write(dns::framed(Wire::query(1, "a.com", kA)));
  TestSocket server = f.upstream.accept();
  server.write(dns::framed(answer_to(server.read_message(), "a.com")));
  CHECK(dns::message_id(f.client.read_message()) == 1);
}

} // namespace
} // namespace weir::session
