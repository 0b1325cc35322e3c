// Bound names in the gate: what a pod has learned, for which address, until when.
#include "proxy/session/policy_gate.h"
#include "test/unit/dns/fakes.h"
#include "test/unit/dns/wire.h"
#include "test/unit/policy-compiler/fixture.h"

#include <future>
#include <memory>
#include <string>

namespace weir::session {
namespace {

using test::name;
using test::RecordingRedirector;

constexpr auto kPolicy = R"(
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: out, namespace: shop, annotations: {weir.io/bind-fqdn: "true"}}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toFQDNs: [{matchName: a.example.com}, {matchName: c.example.com}]
    toPorts: [{ports: [{port: "80", protocol: TCP}, {port: "443", protocol: TCP}]}]
)";
const IpAddress kShared = *IpAddress::parse("192.0.2.1"),
                kElsewhere = *IpAddress::parse("192.0.2.2");

// shop/web (endpoint 1) and what it has learned; the test plays its worker.
struct Node {
  test::ManualClock clock;
  RecordingRedirector kernel;
  dns::FqdnCache cache{kernel, clock.options()};
  runtime::Worker worker{0};
  policy::test::Fixture compiler;

  explicit Node(const std::string& policy = kPolicy) {
    compiler.document(policy).compile();
    publish();
  }
  ~Node() { worker.stop(); }

  void publish() {
    endpoint::Endpoint web;
    web.id = 1;
    web.identity = compiler.kWeb;
    web.endpoint_namespace = "shop";
    web.name = "web";
    web.addresses = {*IpAddress::parse("10.0.1.1")};
    auto snapshot = std::make_shared<endpoint::Snapshot>();
    snapshot->program = compiler.result.program;
    snapshot->registry = std::make_shared<endpoint::Registry>(
        std::vector<endpoint::Endpoint>{web}, std::vector<policy::Program::Prefix>{});
    if (!started) {
      worker.start();
      started = true;
    }
    std::promise<void> done;
    worker.publish(snapshot, [&] { done.set_value(); });
    done.get_future().get();
  }
  void learn(std::string_view text, const IpAddress& address) {
    REQUIRE(cache.learn(compiler.web(), 1, name(text), 60, {address}).has_value());
  }
  template <typename Work>
  auto on_worker(Work&& work) {
    std::promise<decltype(work())> done;
    worker.post([&] { done.set_value(work()); });
    return done.get_future().get();
  }
  std::unique_ptr<PolicyGate> gate(std::uint16_t port) {
    return std::make_unique<PolicyGate>(
        worker, cache, FixedFlow{policy::Direction::kEgress, "shop/web", "192.0.2.1", port},
        IPPROTO_TCP);
  }
  bool started = false;
};

std::string judge_http(Node& node, std::string_view host) {
  return node.on_worker([&] {
    const auto gate = node.gate(80);
    const auto decision = gate->judge_http({"GET", "/", host, {}});
    return decision.allowed ? std::string("allowed") : std::string(decision.reason);
  });
}

std::string judge_sni(Node& node, std::optional<std::string_view> server_name) {
  return node.on_worker([&] {
    const auto decision = node.gate(443)->judge_sni(server_name);
    return decision.allowed ? std::string("allowed") : std::string(decision.reason);
  });
}

TEST_CASE("bound names: only those that the pod has learned this very address for") {
  Node node;
  CHECK(judge_http(node, "a.example.com") == "policy"); // nothing has opened the address
  node.learn("a.example.com", kShared);
  node.learn("c.example.com", kElsewhere);
  CHECK(judge_http(node, "a.example.com") == "allowed");
  CHECK(judge_http(node, "a.example.com:80") == "allowed");
  CHECK(judge_http(node, "b.example.com") == "fqdn-binding"); // shares the address on the server
  CHECK(judge_http(node, "c.example.com") == "fqdn-binding"); // of the rule, at another address
  CHECK(judge_http(node, "192.0.2.1") == "fqdn-binding");
  CHECK(judge_http(node, "[2001:db8::1]:80") == "fqdn-binding");
  CHECK(judge_http(node, "") == "fqdn-binding");
  CHECK(judge_sni(node, "a.example.com") == "allowed");
  CHECK(judge_sni(node, "A.Example.COM") == "allowed");
  CHECK(judge_sni(node, "b.example.com") == "fqdn-binding");
  CHECK(judge_sni(node, "c.example.com") == "fqdn-binding");
  CHECK(judge_sni(node, std::nullopt) == "sni");
  CHECK(judge_sni(node, "a.example.com.") != "allowed");
  CHECK(judge_sni(node, "a\\.example.com") != "allowed");
  node.learn("c.example.com", kShared);
  CHECK(judge_sni(node, "c.example.com") == "allowed");
  CHECK(node.worker.metrics().fqdn_binding_refused.value() == 7);
}

TEST_CASE(
    "bound names: what began in time goes on when the name expires, what comes later does not") {
  Node node;
  node.learn("a.example.com", kShared);
  const auto ask = [](PolicyGate& gate, std::string_view host) {
    return gate.judge_http({"GET", "/", host, {}}).allowed;
  };
  const auto gate = node.on_worker([&] { return std::shared_ptr(node.gate(80)); });
  CHECK(node.on_worker([&] { return ask(*gate, "a.example.com"); }));
  node.clock.advance(std::chrono::hours(1));
  CHECK(node.on_worker([&] { return ask(*gate, "a.example.com"); }));
  CHECK_FALSE(node.on_worker([&] { return ask(*gate, "c.example.com"); }));
  CHECK(judge_http(node, "a.example.com") == "policy");
}

TEST_CASE("bound names: a name that the policy no longer selects is refused on what runs already") {
  Node node;
  node.learn("a.example.com", kShared);
  node.learn("c.example.com", kShared);
  const auto gate = node.on_worker([&] { return std::shared_ptr(node.gate(80)); });
  const auto reason = [&](std::string_view host) {
    return node.on_worker([&] {
      gate->refresh();
      return std::string(gate->judge_http({"GET", "/", host, {}}).reason);
    });
  };
  CHECK(reason("a.example.com").empty());
  CHECK(reason("c.example.com").empty());
  std::string less = kPolicy;
  less.replace(less.find(", {matchName: c.example.com}"), 28, "");
  node.compiler.input.policies.clear();
  node.compiler.document(less).compile();
  REQUIRE(node.cache.reconcile(*node.compiler.result.program).has_value());
  node.publish();
  CHECK(reason("a.example.com").empty());
  CHECK(reason("c.example.com") == "fqdn-binding");
}

} // namespace
} // namespace weir::session
