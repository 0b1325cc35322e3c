#include "proxy/session/dns_session.h"

#include "test/unit/dns/session_fixture.h"
#include "test/unit/dns/wire.h"

#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <string>

namespace weir::session {
namespace {

using dns::Bytes;
using dns::Rcode;
using test::address;
using test::name;
using test::TestSocket;
using test::UdpFixture;
using test::Wire;
using namespace std::chrono_literals;

constexpr std::uint16_t kA = 1;

Bytes with_id(Bytes message, std::uint16_t id) {
  dns::set_message_id(message, id);
  return message;
}

DnsOptions patient() {
  DnsOptions options;
  options.upstream_timeout = 60s;
  return options;
}

DnsOptions hasty() {
  DnsOptions options;
  options.upstream_timeout = 30ms;
  return options;
}

TEST_CASE("A query goes upstream under another id, and the answer comes back but for the id") {
  UdpFixture f(patient());
  const Bytes query = Wire::query(0x0102, "wWw.ExAmple.com", kA).opt(std::string("\0\x0a\0\1x", 5));
  f.ask(query);
  const auto [seen, weir] = f.upstream.receive();
  CHECK(with_id(seen, 0x0102) == query);
  const auto id = dns::message_id(seen);
  const Bytes answer =
      Wire::response(id, "www.eXample.com", kA).a("www.example.com", {192, 0, 2, 1}, 42).opt();
  f.upstream.send_to(weir, answer);
  CHECK(f.answer() == with_id(answer, 0x0102));

  REQUIRE(f.policy->learned().size() == 1);
  CHECK(f.policy->learned()[0].name == name("www.example.com"));
  CHECK(f.policy->learned()[0].ttl == 42);
  CHECK(f.policy->learned()[0].addresses == std::vector{*IpAddress::parse("192.0.2.1")});
  REQUIRE(f.log.lines().size() == 1);
  CHECK(f.log.lines()[0].verdict == AccessVerdict::kAllowed);
  CHECK(f.log.lines()[0].name == "www.example.com.");
  CHECK(f.log.lines()[0].type == "A");
  CHECK(f.log.lines()[0].status == 0);
}

TEST_CASE("D16: the answer is not released before its addresses are learned") {
  UdpFixture f(patient());
  std::atomic<bool> early = true; // written on the worker's thread
  f.policy->on_learn = [&](const test::FakeDnsPolicy::Learning&) -> Result<std::size_t> {
    early = f.client.has_something();
    return 1;
  };
  f.ask(Wire::query(1, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(weir,
                     Wire::response(dns::message_id(seen), "a.com", kA).a("a.com", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNoError);
  CHECK_FALSE(early);
}

TEST_CASE("An answer whose addresses cannot be learned is withheld") {
  UdpFixture f(patient());
  f.policy->on_learn = [](const test::FakeDnsPolicy::Learning&) -> Result<std::size_t> {
    return errno_error(E2BIG, "weir_learned");
  };
  f.ask(Wire::query(1, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(weir,
                     Wire::response(dns::message_id(seen), "a.com", kA).a("a.com", {192, 0, 2, 1}));
  const Bytes answer = f.answer();
  CHECK(answer == dns::make_refusal(Wire::query(1, "a.com", kA), Rcode::kServFail));
  CHECK(f.log.lines().at(0).reason == "learn-failed");
  CHECK(f.refused(DnsRefused::kLearnFailed) == 1);
}

TEST_CASE("A denied query is refused, and the server never sees it") {
  UdpFixture f(patient());
  const Bytes query = Wire::query(7, "www.denied", kA).opt();
  f.ask(query);
  CHECK(f.answer() == dns::make_refusal(query, Rcode::kRefused));
  CHECK_FALSE(f.upstream.has_something());
  const auto lines = f.log.lines();
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].verdict == AccessVerdict::kDenied);
  CHECK(lines[0].denied_by == "shop/dns");
  CHECK(lines[0].reason == "name");
  CHECK(lines[0].status == 5);
}

TEST_CASE("A query that an audited policy refuses is answered and told as AUDIT") {
  UdpFixture f(patient());
  f.ask(Wire::query(1, "name.audited", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(
      weir,
      Wire::response(dns::message_id(seen), "name.audited", kA).a("name.audited", {192, 0, 2, 1}));
  f.answer();
  REQUIRE(f.log.lines().size() == 1);
  CHECK(f.log.lines()[0].verdict == AccessVerdict::kAudit);
  CHECK(f.log.lines()[0].denied_by == "shop/dns");
  CHECK(f.log.lines()[0].reason == "name");
  CHECK(f.log.lines()[0].status == 0);
}

TEST_CASE("D4: what is no ordinary query is refused, and the server never sees it") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA).raw("x"));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kFormErr);
  f.ask(Wire::query(7, "a.com", 252));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kRefused);
  f.ask(Wire(7, 0x2800).question("a.com", 6));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNotImp);
  CHECK_FALSE(f.upstream.has_something());
}

TEST_CASE("D13: what is no query at all is never answered") {
  UdpFixture f(patient());
  f.ask(Wire::response(7, "a.com", kA));
  f.ask(Bytes{});
  f.ask(Bytes{1, 2, 3});
  f.ask(Wire::query(8, "www.denied", kA)); // taken after them, answered first
  CHECK(dns::message_id(f.answer()) == 8);
  CHECK_FALSE(f.client.has_something());
  CHECK(f.worker.metrics().dns_malformed.value() == 3);
}

TEST_CASE("D1: answers from elsewhere, with another id or question are waited past") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  const auto id = dns::message_id(seen);
  const auto answer = [](std::uint16_t answer_id, std::string_view asked) {
    return Wire::response(answer_id, asked, kA).a(asked, {192, 0, 2, 66});
  };
  TestSocket elsewhere(SOCK_DGRAM, "127.0.0.1:0");
  elsewhere.send_to(weir, answer(id, "a.com"));
  TestSocket other_address(
      SOCK_DGRAM, SocketAddress{*IpAddress::parse("127.0.0.2"), f.upstream.address().port});
  other_address.send_to(weir, answer(id, "a.com"));
  f.upstream.send_to(weir, answer(static_cast<std::uint16_t>(id + 1), "a.com"));
  f.upstream.send_to(weir, answer(id, "b.com"));
  f.upstream.send_to(weir, Wire::query(id, "a.com", kA));
  f.upstream.send_to(weir, Bytes{});
  f.upstream.send_to(weir, Wire::response(id, "a.com", kA).a("a.com", {192, 0, 2, 1}));
  const auto response = dns::parse_response(f.answer());
  REQUIRE(response);
  CHECK(std::get<IpAddress>(response->answers.at(0).data).to_string() == "192.0.2.1");
  // The kernel drops the two from elsewhere: the socket is connected.
  CHECK(f.worker.metrics().dns_mismatched.value() == 4);
  CHECK(f.policy->learned().size() == 1);
}

TEST_CASE("D14: a flood of forged answers on a question's socket does not hide the server's own") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  const auto id = dns::message_id(seen);
  constexpr std::size_t kForged = 200; // many more than are looked at in one turn
  f.on_worker([&, to = weir] {         // which meanwhile reads nothing
    for (std::size_t i = 0; i < kForged; ++i) {
      f.upstream.send_to(to, Wire::response(static_cast<std::uint16_t>(id + 1), "a.com", kA));
    }
    f.upstream.send_to(to, Wire::response(id, "a.com", kA).a("a.com", {192, 0, 2, 1}));
  });
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNoError);
  CHECK(f.worker.metrics().dns_mismatched.value() == kForged);
}

TEST_CASE("D14: what a server sends after its answer is no other question's, and is counted") {
  auto options = patient();
  options.upstream_sockets = 1;
  UdpFixture f(options);
  for (int i = 0; i < DnsUdpUpstream::kMaxUses; ++i) { // one socket's life
    f.ask(Wire::query(7, "a.com", kA));
    const auto [seen, weir] = f.upstream.receive();
    const auto answer =
        Wire::response(dns::message_id(seen), "a.com", kA).a("a.com", {192, 0, 2, 1});
    f.on_worker([&, to = weir] { // which meanwhile reads nothing
      f.upstream.send_to(to, answer);
      f.upstream.send_to(to, answer);
    });
    CHECK(dns::message_id(f.answer()) == 7);
  }
  f.stop();
  CHECK(f.worker.metrics().dns_mismatched.value() == DnsUdpUpstream::kMaxUses);
}

// Asked long ago, so that its socket counts as idle when it is answered.
class OldQuestion final : public DnsQuestion {
public:
  OldQuestion(const SocketAddress& server, dns::BytesView bytes)
      : DnsQuestion(DnsFlow{{}, {server}, IPPROTO_UDP, {}}, bytes,
                    Clock::now() - 2 * DnsUdpUpstream::kMaxIdle) {
    query = *dns::parse_query(bytes).query;
  }
  void answered(std::span<std::uint8_t> /*answer*/) override { is_answered = true; }
  void failed(DnsRefused /*why*/) override {}

  bool is_answered = false;
};

TEST_CASE(
    "Once its idle sockets are closed the upstream holds up no loop, and can be asked again") {
  boost::asio::io_context context{1};
  WorkerMetrics metrics;
  DnsIds ids;
  Bytes scratch(dns::kMaxMessage);
  DnsUdpUpstream upstream(context, metrics, ids, scratch, {});
  TestSocket server(SOCK_DGRAM, "127.0.0.1:0");
  for (int round = 0; round < 2; ++round) {
    const Bytes query = Wire::query(7, "a.com", kA);
    OldQuestion question(server.address(), query);
    REQUIRE(upstream.ask(question));
    const auto [seen, from] = server.receive();
    server.send_to(from, Wire::response(dns::message_id(seen), "a.com", kA));
    while (!question.is_answered && context.run_one_for(std::chrono::seconds(20)) > 0) {
    }
    REQUIRE(question.is_answered);
    upstream.close_idle();
    CHECK(upstream.open_sockets() == 0);
    context.run_for(std::chrono::seconds(20));
    CHECK(context.stopped()); // nothing was left to wait for
    context.restart();
  }
}

TEST_CASE("D15: a server that says nothing is SERVFAIL, and its late answer goes nowhere") {
  UdpFixture f(hasty());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  CHECK(f.answer() == dns::make_refusal(Wire::query(7, "a.com", kA), Rcode::kServFail));
  f.upstream.send_to(weir,
                     Wire::response(dns::message_id(seen), "a.com", kA).a("a.com", {192, 0, 2, 1}));
  f.ask(Wire::query(8, "b.com", kA));
  CHECK(dns::message_id(f.answer()) == 8); // SERVFAIL, too, and nothing before it
  CHECK(f.policy->learned().empty());
  CHECK(f.worker.metrics().dns_mismatched.value() == 1);
  CHECK(f.refused(DnsRefused::kUpstreamTimeout) == 2);
  CHECK(f.log.lines().at(0).reason == "upstream-timeout");
}

TEST_CASE("D15: a server whose port is closed is SERVFAIL at once") {
  UdpFixture f(patient());
  const SocketAddress gone = f.upstream.address();
  f.upstream = TestSocket(SOCK_DGRAM, "127.0.0.1:0");
  REQUIRE(f.upstream.address() != gone);
  f.ask(Wire::query(7, "a.com", kA));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kServFail);
  CHECK(f.log.lines().at(0).reason == "upstream-unreachable");
}

TEST_CASE("D15: a query repeated while its answer is awaited is asked once") {
  UdpFixture f(patient());
  const Bytes query = Wire::query(7, "a.com", kA);
  f.ask(query);
  f.ask(query);
  f.ask(Wire::query(9, "b.com", kA));
  const auto [first, weir] = f.upstream.receive();
  f.upstream.receive(); // b.com's: the repetition has been taken before it
  CHECK_FALSE(f.upstream.has_something());
  f.upstream.send_to(weir, Wire::response(dns::message_id(first), "a.com", kA));
  CHECK(dns::message_id(f.answer()) == 7);
  // Once answered it is a new query.
  f.ask(query);
  CHECK(dns::parse_query(f.upstream.receive().first).query->question.name == name("a.com"));
}

namespace {

// How far the counts are from even, in standard deviations of chi-square.
double unevenness(const std::vector<unsigned>& counts) {
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double expected = all / static_cast<double>(counts.size());
  double chi_square = 0;
  for (const unsigned count : counts) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  const double freedom = static_cast<double>(counts.size()) - 1;
  return (chi_square - freedom) / std::sqrt(2 * freedom);
}

} // namespace

TEST_CASE("D15: ids and source ports are spread evenly (chi-square)") {
  constexpr double kFar = 10; // an even spread comes so far once in more runs than there will be
  DnsIds ids;
  std::vector<unsigned> high(256), low(256);
  for (int i = 0; i < 1 << 16; ++i) {
    const std::uint16_t id = ids.next();
    ++high[id >> 8];
    ++low[id & 0xff];
  }
  CHECK(unevenness(high) < kFar);
  CHECK(unevenness(low) < kFar);

  UdpFixture f(patient());
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 600; ++i) {
    f.ask(Wire::query(7, "a.com", kA));
    const auto [seen, weir] = f.upstream.receive();
    f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "a.com", kA));
    f.answer();
    ports.push_back(weir.port);
  }
  std::ifstream range("/proc/sys/net/ipv4/ip_local_port_range");
  unsigned first = 0, last = 0;
  REQUIRE(range >> first >> last);
  std::vector<unsigned> parts(8);
  for (const unsigned port : ports) {
    REQUIRE((port >= first && port <= last));
    ++parts[(port - first) * parts.size() / (last - first + 1)];
  }
  CHECK(unevenness(parts) < kFar);
}

TEST_CASE("D15: ids and source ports do not repeat or follow each other") {
  UdpFixture f(patient());
  std::set<std::uint16_t> ids;
  std::set<std::uint16_t> ports;
  int successors = 0;
  std::uint16_t last_id = 0;
  std::uint16_t last_port = 0;
  constexpr int kQueries = 300;
  for (int i = 0; i < kQueries; ++i) {
    f.ask(Wire::query(7, "a.com", kA));
    const auto [seen, weir] = f.upstream.receive();
    const auto id = dns::message_id(seen);
    f.upstream.send_to(weir, Wire::response(id, "a.com", kA));
    f.answer();
    ids.insert(id);
    ports.insert(weir.port);
    successors += id == last_id + 1 || weir.port == last_port + 1 ? 1 : 0;
    last_id = id;
    last_port = weir.port;
  }
  CHECK(ids.size() > kQueries - 20);
  CHECK(ports.size() > kQueries - 30);
  CHECK(successors < 10);
}

TEST_CASE("R: over the limit for one client further queries are SERVFAIL until others end") {
  auto options = patient();
  options.max_in_flight_per_client = 2;
  UdpFixture f(options);
  f.ask(Wire::query(1, "a.com", kA));
  f.ask(Wire::query(2, "b.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.receive();
  f.ask(Wire::query(3, "c.com", kA));
  const Bytes refused = f.answer();
  CHECK(dns::message_id(refused) == 3);
  CHECK(dns::message_rcode(refused) == Rcode::kServFail);
  CHECK(f.log.lines().at(0).reason == "too-many-queries");

  // Another client has room of its own.
  TestSocket other(SOCK_DGRAM, "127.0.0.2:0");
  other.send_to(f.listener->local(), Wire::query(4, "d.com", kA));
  f.upstream.receive();

  const auto asked = dns::parse_query(seen).query->question.name;
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), asked.to_text().substr(0, 5), kA));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNoError);
  f.ask(Wire::query(5, "e.com", kA));
  f.upstream.receive();
}

TEST_CASE("D10: over the worker's limit each client still has the places reserved for it") {
  auto options = patient();
  options.max_in_flight = 3;
  options.reserved_per_client = 1;
  UdpFixture f(options);
  for (std::uint16_t id = 1; id <= 3; ++id) {
    f.ask(Wire::query(id, "a" + std::to_string(id) + ".com", kA));
    f.upstream.receive();
  }
  f.ask(Wire::query(4, "b.com", kA));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kServFail);
  TestSocket other(SOCK_DGRAM, "127.0.0.2:0");
  other.send_to(f.listener->local(), Wire::query(5, "c.com", kA));
  f.upstream.receive();
  other.send_to(f.listener->local(), Wire::query(6, "d.com", kA));
  const Bytes refused = other.receive().first;
  CHECK(dns::message_id(refused) == 6);
  CHECK(dns::message_rcode(refused) == Rcode::kServFail);
  CHECK(f.refused(DnsRefused::kTooMany) == 2);
}

TEST_CASE("D15: a busy client's ports stay unpredictable while sockets are used again") {
  auto options = patient();
  options.upstream_sockets = 64;
  UdpFixture f(options);
  std::map<std::uint16_t, int> uses;
  std::map<std::uint16_t, std::size_t> quarters; // of the ids
  constexpr std::size_t kQueries = 4000;
  for (std::size_t i = 0; i < kQueries; ++i) {
    f.ask(Wire::query(7, "a.com", kA));
    const auto [seen, weir] = f.upstream.receive();
    const auto id = dns::message_id(seen);
    f.upstream.send_to(weir, Wire::response(id, "a.com", kA));
    f.answer();
    ++uses[weir.port];
    ++quarters[static_cast<std::uint16_t>(id >> 14)];
  }
  CHECK(uses.size() > kQueries / DnsUdpUpstream::kMaxUses - 16);
  for (const auto& [port, count] : uses) {
    // Twice: the kernel may give the same port again.
    CHECK(count <= 2 * DnsUdpUpstream::kMaxUses);
  }
  // Chi-square with 3 degrees of freedom; 30 is beyond one in a hundred thousand.
  double chi = 0;
  for (const auto& [quarter, count] : quarters) {
    const double off = static_cast<double>(count) - kQueries / 4.0;
    chi += off * off / (kQueries / 4.0);
  }
  CHECK(chi < 30);
}

TEST_CASE("D10: sockets towards servers are closed when the worker stops") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  f.upstream.receive();
  f.stop();
  CHECK(f.service.in_flight() == 0);
}

TEST_CASE("D5: EDNS0 sizes, options and an extended RCODE pass as they are, either way") {
  UdpFixture f(patient());
  // Version 0, the DO bit, an unknown option; a payload size that the server may use.
  Bytes query = Wire::query(0x0102, "a.com", kA).opt(std::string("\xfd\xe9\0\2ab", 6));
  f.ask(query);
  const auto [seen, weir] = f.upstream.receive();
  CHECK(with_id(seen, 0x0102) == query);
  auto large = Wire::response(dns::message_id(seen), "a.com", kA);
  for (std::uint8_t i = 0; i < 200; ++i) {
    large.a("a.com", {192, 0, 2, i});
  }
  const Bytes answer = large.opt();
  REQUIRE(answer.size() > 4000);
  f.upstream.send_to(weir, answer);
  CHECK(f.answer() == with_id(answer, 0x0102));
  CHECK(f.policy->learned().at(0).addresses.size() == 200);
}

TEST_CASE("D5: answers without a question, or with two, are no answers") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  const auto id = dns::message_id(seen);
  f.upstream.send_to(weir, Wire(id, test::kResponseFlags));
  f.upstream.send_to(weir, Wire::response(id, "a.com", kA).question("a.com", kA));
  f.upstream.send_to(weir, Wire(id, 0xa180).question("a.com", kA)); // opcode NOTIFY
  f.upstream.send_to(weir, Wire::response(id, "a.com", kA).a("a.com", {192, 0, 2, 1}));
  CHECK(f.answer() == with_id(Wire::response(id, "a.com", kA).a("a.com", {192, 0, 2, 1}), 7));
  CHECK(f.worker.metrics().dns_mismatched.value() == 3);
}

TEST_CASE("D13: a datagram larger than any query is dropped") {
  UdpFixture f(patient());
  f.ask(Bytes(20'000, 1));
  f.ask(Wire::query(8, "www.denied", kA));
  CHECK(dns::message_id(f.answer()) == 8);
  CHECK(f.worker.metrics().dns_malformed.value() == 1);
}

TEST_CASE("D5: a truncated answer goes back as it is, though its records be cut") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  Bytes answer =
      Wire(dns::message_id(seen), 0x8380).question("a.com", kA).a("a.com", {192, 0, 2, 1}).bytes();
  answer.resize(answer.size() - 2);
  f.upstream.send_to(weir, answer);
  CHECK(f.answer() == with_id(answer, 7));
  CHECK(f.policy->learned().empty());
}

TEST_CASE("D5: a malformed answer is SERVFAIL") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(
      weir, Wire::response(dns::message_id(seen), "a.com", kA).record("a.com", 1, 60, "abc"));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kServFail);
  CHECK(f.log.lines().at(0).reason == "upstream-malformed");
}

TEST_CASE("D11: where policy says so, a query is passed on and its answer teaches nothing") {
  UdpFixture f(patient());
  f.policy->teaches = false;
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(weir,
                     Wire::response(dns::message_id(seen), "a.com", kA).a("a.com", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNoError);
  CHECK(f.policy->learned().empty());
}

TEST_CASE("D8: addresses of the cluster itself are passed on, but not learned") {
  UdpFixture f(patient());
  f.policy->cluster = {*IpAddress::parse("10.0.1.11")};
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "a.com", kA)
                               .a("a.com", {10, 0, 1, 11})
                               .a("a.com", {127, 0, 0, 1})
                               .a("a.com", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.answer()) == Rcode::kNoError);
  REQUIRE(f.policy->learned().size() == 1);
  CHECK(f.policy->learned()[0].addresses == std::vector{*IpAddress::parse("192.0.2.1")});
  using dns::NotLearned;
  const auto& left_out = f.worker.metrics().dns_learn_refused;
  CHECK(left_out[static_cast<std::size_t>(NotLearned::kCluster)].value() == 1);
  CHECK(left_out[static_cast<std::size_t>(NotLearned::kRange)].value() == 1);
}

TEST_CASE("N1: everything goes over IPv6 as well") {
  UdpFixture f(patient(), "[::1]:0");
  f.ask(Wire::query(7, "a.com", 28));
  const auto [seen, weir] = f.upstream.receive();
  f.upstream.send_to(
      weir, Wire::response(dns::message_id(seen), "a.com", 28).aaaa("a.com", "2001:db8::1"));
  CHECK(dns::message_id(f.answer()) == 7);
  CHECK(f.policy->learned().size() == 1);
}

TEST_CASE("An answer comes from the address that was asked, where the listener has several") {
  UdpFixture f(patient());
  auto opened =
      DnsListener::open_static(f.service, ListenAddr{address("0.0.0.0:0")}, f.upstream.address(),
                               [&f](ClientAddr, OriginalDst) { return f.policy; });
  REQUIRE(opened.has_value());
  f.on_worker([&] { f.worker.gate().spawn((*opened)->run()); });
  const SocketAddress asked{*IpAddress::parse("127.0.0.3"), (*opened)->local().port};
  f.client.send_to(asked, Wire::query(7, "www.denied", kA));
  CHECK(f.client.receive().second == asked);
  f.stop();
}

TEST_CASE("Stopping the worker ends what is in flight without an answer") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  f.upstream.receive();
  CHECK(f.on_worker([&] { return f.service.in_flight(); }) == 1);
  f.stop();
  CHECK(f.service.in_flight() == 0);
  CHECK_FALSE(f.client.has_something());
}

TEST_CASE("A closed listener takes no more queries, but answers those in flight") {
  UdpFixture f(patient());
  f.ask(Wire::query(7, "a.com", kA));
  const auto [seen, weir] = f.upstream.receive();
  f.on_worker([&] { f.listener->close(); });
  f.ask(Wire::query(8, "www.denied", kA));
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "a.com", kA));
  CHECK(dns::message_id(f.answer()) == 7);
  f.on_worker([] {});
  CHECK_FALSE(f.client.has_something());
  // Its address is free again.
  const TestSocket next(SOCK_DGRAM, f.listener->local());
}

} // namespace
} // namespace weir::session
