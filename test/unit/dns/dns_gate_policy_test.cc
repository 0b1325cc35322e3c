// The whole way of a query by real policy: compiled rules, the gate, the learner, the kernel.
#include "proxy/session/dns_gate_policy.h"

#include "test/unit/dns/policed_listener.h"
#include "test/unit/dns/wire.h"

#include <netinet/in.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

namespace weir::session {
namespace {

using dns::Bytes;
using dns::Rcode;
using test::address;
using test::name;
using test::RecordingRedirector;
using test::TestSocket;
using test::Wire;

constexpr std::uint16_t kA = 1;
constexpr auto kDnsPolicy = R"({
  endpointSelector: {matchLabels: {app: web}},
  egress: [
    {toEndpoints: [{matchLabels: {app: api}}],
     toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*.example.com"}]}}]},
    {toFQDNs: [{matchName: www.example.com}]}]})";

class PolicyFixture : public test::ServiceFixture, public test::PolicedListener {
public:
  explicit PolicyFixture(const std::string& spec, const config::Dns& dns = {})
      : PolicedListener(worker, log, service, dns) {
    publish(spec);
    on_worker([this] { worker.gate().spawn(listener->run()); });
  }
  ~PolicyFixture() { stop(); }

  void publish(const std::string& spec, const std::string& first_pod = "web") {
    std::promise<void> done;
    worker.publish(snapshot_of(spec, first_pod), [&done] { done.set_value(); });
    done.get_future().get();
  }

  // Sends the query on its way and gives what reached the server.
  std::pair<Bytes, SocketAddress> seen_upstream(const Bytes& query) {
    client.send_to(listener->local(), query);
    return upstream.receive();
  }
};

TEST_CASE("A name that policy allows and wants is in the kernel when its answer arrives") {
  PolicyFixture f(kDnsPolicy);
  const auto [seen, weir] = f.seen_upstream(Wire::query(7, "www.example.com", kA));
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "www.example.com", kA)
                               .a("www.example.com", {192, 0, 2, 1})
                               .a("www.example.com", {10, 0, 1, 2})     // a pod's: never
                               .a("www.example.com", {10, 96, 0, 20})); // nor a service's
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kNoError);
  f.stop();
  CHECK(f.kernel.find(1, "192.0.2.1") != nullptr);
  CHECK(f.kernel.learned.size() == 1);
  REQUIRE(f.cache.entries().size() == 1);
  CHECK(f.cache.entries()[0].endpoint == 1);
  CHECK(f.cache.entries()[0].name == name("www.example.com"));
}

TEST_CASE("A name that policy allows to be asked, and no toFQDNs names, is not learned") {
  PolicyFixture f(kDnsPolicy);
  const auto [seen, weir] = f.seen_upstream(Wire::query(7, "api.example.com", kA));
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "api.example.com", kA)
                               .a("api.example.com", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kNoError);
  f.stop();
  CHECK(f.kernel.learned.empty());
}

TEST_CASE("A name that no rule names is refused, and the log says by which policy") {
  PolicyFixture f(kDnsPolicy);
  const Bytes query = Wire::query(7, "www.example.org", kA);
  f.client.send_to(f.listener->local(), query);
  CHECK(f.client.receive().first == dns::make_refusal(query, Rcode::kRefused));
  CHECK_FALSE(f.upstream.has_something());
  CHECK(f.log.lines().at(0).denied_by == "shop/dns");
}

TEST_CASE("D7: a pattern lets pass no name that only looks like its names") {
  PolicyFixture f(kDnsPolicy);
  for (const char* other :
       {"example.com", "a.b.example.com", "www.example.com.evil.net", "evil-example.com"}) {
    INFO(other);
    f.client.send_to(f.listener->local(), Wire::query(7, other, kA));
    CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  }
  CHECK_FALSE(f.upstream.has_something());
}

TEST_CASE("A name that a deny rule names is refused, and told apart from one that no rule allows") {
  PolicyFixture f(R"({
  endpointSelector: {matchLabels: {app: web}},
  egress: [{toEndpoints: [{matchLabels: {app: api}}],
            toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*.example.com"}]}}]}],
  egressDeny: [{toEndpoints: [{matchLabels: {app: api}}],
                toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchName: evil.example.com}]}}]}]})");
  f.client.send_to(f.listener->local(), Wire::query(7, "evil.example.com", kA));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  f.client.send_to(f.listener->local(), Wire::query(8, "www.example.org", kA));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  CHECK_FALSE(f.upstream.has_something());
  f.stop();
  CHECK(f.refused(DnsRefused::kDenied) == 1);
  CHECK(f.refused(DnsRefused::kName) == 1);
  REQUIRE(f.log.lines().size() == 2);
  CHECK(f.log.lines()[0].reason == "denied");
}

TEST_CASE("D18: how much each pod asks for is counted, for no more pods than a node has") {
  PolicyFixture f(kDnsPolicy);
  for (std::uint16_t id = 0; id < 3; ++id) {
    f.client.send_to(f.listener->local(), Wire::query(id, "data.example.org", kA));
    CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  }
  f.stop();
  PodVolumes::ByPod sums;
  f.worker.metrics().dns_volumes.add_to(sums);
  REQUIRE(sums.size() == 1);
  CHECK(sums["shop/web"].queries == 3);
  CHECK(sums["shop/web"].name_bytes == 3 * name("data.example.org").wire().size());

  PodVolumes volumes;
  const auto asking = volumes.of("shop", "asking");
  for (std::size_t i = 0; i < 10 * PodVolumes::kMaxPods; ++i) {
    volumes.of("shop", "pod" + std::to_string(i))->add(1);
    asking->add(1);
  }
  CHECK(volumes.of("shop", "asking") == asking);
  sums.clear();
  volumes.add_to(sums);
  CHECK(sums.size() <= PodVolumes::kMaxPods);
  // Who asks all the while loses nothing when the others have to go.
  CHECK(sums["shop/asking"].queries == 10 * PodVolumes::kMaxPods);
}

TEST_CASE("D18: what pods ask for may be read while it is counted") {
  constexpr std::uint64_t kQueries = 20'000;
  PodVolumes volumes;
  std::atomic<bool> over{false};
  bool fell = false;
  std::thread reader([&] {
    for (std::uint64_t before = 0; !over.load();) {
      PodVolumes::ByPod sums;
      volumes.add_to(sums);
      const std::uint64_t now = sums["shop/web"].queries;
      fell = fell || now < before;
      before = now;
    }
  });
  for (std::uint64_t i = 0; i < kQueries; ++i) {
    volumes.of("shop", i % 2 == 0 ? "web" : "api")->add(1);
  }
  over.store(true);
  reader.join();
  CHECK_FALSE(fell);
  PodVolumes::ByPod sums;
  volumes.add_to(sums);
  CHECK(sums["shop/web"].queries == kQueries / 2);
  CHECK(sums["shop/api"].name_bytes == kQueries / 2);
}

TEST_CASE("What a pod asks for is counted as its own, also when its address was another's before") {
  PolicyFixture f(kDnsPolicy);
  const auto client = *IpAddress::parse("10.0.1.1");
  const auto policy = f.on_worker([&] {
    return make_dns_policy(f.context, ClientAddr{{client, 4000}}, OriginalDst{f.upstream.address()},
                           IPPROTO_UDP);
  });
  const auto asker_is = [&](std::string_view pod) {
    return f.on_worker([&] {
      static_cast<void>(policy->judge(name("www.example.com"))); // by the newest snapshot
      return policy->volume()->is("shop", pod);
    });
  };
  CHECK(asker_is("web"));
  f.publish(kDnsPolicy, "next");
  CHECK(asker_is("next"));
  f.publish(kDnsPolicy, "web");
  CHECK(asker_is("web"));
}

TEST_CASE("D6: a label with a dot inside passes for no other name in policy") {
  PolicyFixture f(kDnsPolicy);
  auto query = Wire(7, test::kQueryFlags);
  query.count(4)
      .raw(std::string("\x0bwww.example\x03"
                       "com\x00",
                       17))
      .u16(kA)
      .u16(1);
  f.client.send_to(f.listener->local(), query);
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  CHECK_FALSE(f.upstream.has_something());
}

TEST_CASE("A query in flight over a policy change is learned by the new policy") {
  PolicyFixture f(kDnsPolicy);
  const auto [seen, weir] = f.seen_upstream(Wire::query(7, "www.example.com", kA));
  f.publish(R"({
    endpointSelector: {matchLabels: {app: web}},
    egress: [{toEndpoints: [{matchLabels: {app: api}}],
              toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]}]})");
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "www.example.com", kA)
                               .a("www.example.com", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kNoError);
  f.stop();
  CHECK(f.kernel.learned.empty());
}

constexpr auto kNoDnsRule = R"({
    endpointSelector: {matchLabels: {app: web}},
    egress: [{toEndpoints: [{matchLabels: {app: api}}]}, {toFQDNs: [{matchPattern: "*"}]}]})";

TEST_CASE("Where policy allows the server without a DNS rule, answers are observed for toFQDNs") {
  PolicyFixture f(kNoDnsRule);
  const auto [seen, weir] = f.seen_upstream(Wire::query(7, "www.example.org", kA));
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "www.example.org", kA)
                               .a("www.example.org", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kNoError);
  f.stop();
  CHECK(f.kernel.find(1, "192.0.2.1") != nullptr);
}

TEST_CASE("Where observing is switched off, queries without a DNS rule teach nothing") {
  config::Dns dns;
  dns.observe = false;
  PolicyFixture f(kNoDnsRule, dns);
  const auto [seen, weir] = f.seen_upstream(Wire::query(7, "www.example.org", kA));
  f.upstream.send_to(weir, Wire::response(dns::message_id(seen), "www.example.org", kA)
                               .a("www.example.org", {192, 0, 2, 1}));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kNoError);
  f.stop();
  CHECK(f.kernel.learned.empty());
}

Rcode answer_for(PolicyFixture& f, std::string_view asked) {
  f.client.send_to(f.listener->local(), Wire::query(7, asked, kA));
  return dns::message_rcode(f.client.receive().first);
}

TEST_CASE("D17: a search list's tries are NXDOMAIN where another of them is allowed") {
  PolicyFixture f(kDnsPolicy);
  CHECK(answer_for(f, "www.example.com.shop.svc.cluster.local") == Rcode::kNxDomain);
  CHECK(answer_for(f, "www.example.com.svc.cluster.local") == Rcode::kNxDomain);
  CHECK(answer_for(f, "www.example.com.cluster.local") == Rcode::kNxDomain);
  // No search list of this pod makes these.
  CHECK(answer_for(f, "www.example.com.other.svc.cluster.local") == Rcode::kRefused);
  CHECK(answer_for(f, "www.example.com.evil.com") == Rcode::kRefused);
  // And nothing that is allowed can follow these.
  CHECK(answer_for(f, "evil.com.shop.svc.cluster.local") == Rcode::kRefused);
  CHECK(answer_for(f, "evil.com") == Rcode::kRefused);
  CHECK(answer_for(f, "shop.svc.cluster.local") == Rcode::kRefused);
  CHECK_FALSE(f.upstream.has_something());
}

TEST_CASE("D17: a search list's earlier try is NXDOMAIN where a later one of it is allowed") {
  PolicyFixture f(R"({
    endpointSelector: {matchLabels: {app: web}},
    egress: [{toEndpoints: [{matchLabels: {app: api}}],
              toPorts: [{ports: [{port: "53", protocol: ANY}],
                         rules: {dns: [{matchName: db.other.svc.cluster.local}]}}]}]})");
  CHECK(answer_for(f, "db.other.shop.svc.cluster.local") == Rcode::kNxDomain);
  CHECK(answer_for(f, "db.third.shop.svc.cluster.local") == Rcode::kRefused);
}

TEST_CASE("D17: what is refused can be made REFUSED or NXDOMAIN throughout") {
  config::Dns dns;
  dns.refusal = config::DnsRefusal::kRefused;
  PolicyFixture refused(kDnsPolicy, dns);
  CHECK(answer_for(refused, "www.example.com.shop.svc.cluster.local") == Rcode::kRefused);
  dns.refusal = config::DnsRefusal::kNxDomain;
  PolicyFixture absent(kDnsPolicy, dns);
  CHECK(answer_for(absent, "evil.com") == Rcode::kNxDomain);
}

TEST_CASE("D11: a server that nobody trusts is asked as policy says, and teaches nothing") {
  PolicyFixture f(kDnsPolicy);
  const auto teaches = [&](std::string_view server) {
    return f.on_worker([&] {
      auto gate = std::make_unique<PolicyGate>(
          f.worker, f.cache, FixedFlow{policy::Direction::kEgress, "shop/web", "shop/api", 53},
          IPPROTO_UDP);
      GateDnsPolicy policy(f.context, std::move(gate), IpAddress::parse(server));
      const DnsDecision decision = policy.judge(name("www.example.com"));
      return decision.allowed ? std::optional(decision.teaches) : std::nullopt;
    });
  };
  CHECK(teaches("10.0.1.2") == false);
  CHECK(teaches("8.8.8.8") == false);
  CHECK(teaches("10.0.1.53") == true);
}

TEST_CASE("Where policy does not let the pod reach the server at all, queries are refused") {
  PolicyFixture f(R"({endpointSelector: {matchLabels: {app: web}}, egress: [{}]})");
  f.client.send_to(f.listener->local(), Wire::query(7, "www.example.com", kA));
  CHECK(dns::message_rcode(f.client.receive().first) == Rcode::kRefused);
  CHECK_FALSE(f.upstream.has_something());
}

} // namespace
} // namespace weir::session
