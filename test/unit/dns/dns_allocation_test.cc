// Counts what a question and its answer take from the heap, with the real listener, service,
// sockets and reactor, a policy that is compiled from YAML, and learning.
#include "test/support/allocations.h"
#include "test/support/formatting_log.h"
#include "test/unit/dns/policed_listener.h"
#include "test/unit/dns/wire.h"

#include <string>

namespace weir::session {
namespace {

using test::Wire;

constexpr std::uint16_t kA = 1;
const std::string kName = "www.a-name-of-some-length.example.com";
constexpr auto kDnsPolicy = R"({
  endpointSelector: {matchLabels: {app: web}},
  egress: [
    {toEndpoints: [{matchLabels: {app: api}}],
     toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "**.example.com"}]}}]},
    {toFQDNs: [{matchPattern: "**.example.com"}]}]})";

// The worker has no thread: the test turns its loop.
struct Fixture {
  Fixture() {
    worker.publish(policed.snapshot_of(kDnsPolicy), [] {});
    worker.gate().spawn(policed.listener->run());
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
    policed.client.send_to(policed.listener->local(), Wire::query(7, kName, kA));
    std::size_t allocations = test::allocations_of([this] { poll(); });
    const auto [seen, weir] = policed.upstream.receive();
    policed.upstream.send_to(weir, Wire::response(dns::message_id(seen), kName, kA)
                                       .a(kName, {192, 0, 2, 1})
                                       .a(kName, {192, 0, 2, 2}));
    allocations += test::allocations_of([this] { poll(); });
    REQUIRE(dns::message_rcode(policed.client.receive().first) == dns::Rcode::kNoError);
    return allocations;
  }

  runtime::Worker worker{0};
  test::FormattingLog log;
  DnsService service{worker, log, one_socket()};
  test::PolicedListener policed{worker, log, service};

private:
  static DnsOptions one_socket() {
    DnsOptions options;
    options.upstream_sockets = 1;
    return options;
  }
};

} // namespace

TEST_CASE("A question and its answer take little from the heap") {
  Fixture f;
  CHECK(f.exchange() > 0); // buffers grow; and the count works
  for (int i = 0; i < 200; ++i) {
    f.exchange();
  }
  CHECK(f.policed.kernel.learned.size() == 2);
  constexpr std::size_t kQuestions = 5 * DnsUdpUpstream::kMaxUses; // five sockets' life
  std::size_t total = 0;
  for (std::size_t i = 0; i < kQuestions; ++i) {
    total += f.exchange();
  }
  CAPTURE(total);
  CHECK(total <= 12 * kQuestions + 20); // and what the five sockets take
}

} // namespace weir::session
