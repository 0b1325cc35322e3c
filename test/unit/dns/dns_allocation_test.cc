// Counts what a question and its answer take from the heap, with the real listener, service,
// sockets and reactor, a policy that is compiled from YAML, and learning.
#include "proxy/session/dns_gate_policy.h"

#include "test/support/allocations.h"
#include "test/support/formatting_log.h"
#include "test/unit/dns/fakes.h"
#include "test/unit/dns/session_fixture.h"
#include "test/unit/dns/wire.h"
#include "test/unit/policy-compiler/fixture.h"

#include <netinet/in.h>

#include <memory>
#include <string>

namespace weir::session {
namespace {

using dns::Bytes;
using test::address;
using test::TestSocket;
using test::Wire;

constexpr std::uint16_t kA = 1;
const std::string kName = "www.a-name-of-some-length.example.com";

// The worker has no thread: the test turns its loop.
struct Fixture {
  Fixture() : service(worker, log, one_socket()) {
    policy::test::Fixture compiler;
    compiler
        .policy("dns", R"({
  endpointSelector: {matchLabels: {app: web}},
  egress: [
    {toEndpoints: [{matchLabels: {app: api}}],
     toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "**.example.com"}]}}]},
    {toFQDNs: [{matchPattern: "**.example.com"}]}]})")
        .compile();
    auto snapshot = std::make_shared<endpoint::Snapshot>();
    snapshot->program = compiler.result.program;
    const auto prefixes = snapshot->program->prefixes();
    snapshot->registry = std::make_shared<endpoint::Registry>(
        std::vector<endpoint::Endpoint>{pod(1, compiler.kWeb, "web", "10.0.1.1"),
                                        pod(2, compiler.kApi, "api", "10.0.1.2")},
        std::vector<policy::Program::Prefix>(prefixes.begin(), prefixes.end()));
    worker.publish(snapshot, [] {});
    auto opened = DnsListener::open_static(
        service, ListenAddr{address("127.0.0.1:0")}, upstream.local(),
        [this](ClientAddr, OriginalDst) {
          return make_dns_policy(context,
                                 FixedFlow{policy::Direction::kEgress, "shop/web", "shop/api", 53},
                                 IPPROTO_UDP);
        });
    REQUIRE(opened.has_value());
    listener = *std::move(opened);
    worker.gate().spawn(listener->run());
    poll();
  }
  ~Fixture() {
    worker.gate().close();
    poll();
  }
  void poll() {
    worker.context().restart();
    worker.context().poll();
  }
  // Of weir, for one question and its answer.
  std::size_t exchange() {
    client.send_to(listener->local(), Wire::query(7, kName, kA));
    std::size_t allocations = test::allocations_of([this] { poll(); });
    const auto [seen, weir] = upstream.receive();
    upstream.send_to(weir, Wire::response(dns::message_id(seen), kName, kA)
                               .a(kName, {192, 0, 2, 1})
                               .a(kName, {192, 0, 2, 2}));
    allocations += test::allocations_of([this] { poll(); });
    REQUIRE(dns::message_rcode(client.receive().first) == dns::Rcode::kNoError);
    return allocations;
  }

  runtime::Worker worker{0};
  test::FormattingLog log;
  DnsService service;
  test::RecordingRedirector kernel;
  dns::FqdnCache cache{kernel, {}};
  config::Http http;
  config::Dns dns;
  SessionContext context{worker, http, cache, log, nullptr, dns};
  TestSocket upstream{SOCK_DGRAM, "127.0.0.1:0"}, client{SOCK_DGRAM, "127.0.0.1:0"};
  std::unique_ptr<DnsListener> listener;

private:
  static DnsOptions one_socket() {
    DnsOptions options;
    options.upstream_sockets = 1;
    return options;
  }
  static endpoint::Endpoint pod(policy::EndpointId id, policy::IdentityId identity,
                                const std::string& name, std::string_view ip) {
    endpoint::Endpoint pod;
    pod.id = id;
    pod.identity = identity;
    pod.endpoint_namespace = "shop";
    pod.name = name;
    pod.addresses = {*IpAddress::parse(ip)};
    return pod;
  }
};

} // namespace

TEST_CASE("A question and its answer take little from the heap") {
  Fixture f;
  CHECK(f.exchange() > 0); // buffers grow; and the count works
  for (int i = 0; i < 200; ++i) {
    f.exchange();
  }
  CHECK(f.kernel.learned.size() == 2);
  constexpr std::size_t kQuestions = 5 * DnsUdpUpstream::kMaxUses; // five sockets' life
  std::size_t total = 0;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    total += f.exchange();
  }
  CAPTURE(total);
  CHECK(total <= 12 * kQuestions + 20); // and what the five sockets take
}

} // namespace weir::session
