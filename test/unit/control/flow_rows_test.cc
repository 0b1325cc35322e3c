#include "proxy/control/flow_rows.h"

#include "policy-compiler/eval/sequential_numbers.h"
#include "proxy/base/clocks.h"
#include "proxy/endpoint/cluster.h"
#include "test/unit/dns/fakes.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace {

using namespace weir;
using namespace weir::control;
using Catch::Matchers::ContainsSubstring;

constexpr policy::EndpointId kClient = 1, kWeb = 2;
constexpr policy::IdentityId kClientIdentity = 300, kWebIdentity = 301;
constexpr const char* kPolicy = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: client, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
    - toEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
    - toCIDR: [198.51.100.0/24]
    - toFQDNs: [{matchName: api.example.test}]
)";

struct World {
  World() {
    auto made = std::make_shared<policy::CompileInput>();
    made->revision = 1;
    made->policies = {policy::parse_policies("client.yaml", kPolicy).front().policy};
    REQUIRE(made->policies[0] != nullptr);
    std::vector<endpoint::Endpoint> pods;
    for (const auto& [id, identity, name, address] :
         {std::tuple(kClient, kClientIdentity, "client", "10.0.1.11"),
          std::tuple(kWeb, kWebIdentity, "web", "10.0.1.12")}) {
      endpoint::Endpoint pod;
      pod.id = id;
      pod.identity = identity;
      pod.endpoint_namespace = "shop";
      pod.name = name;
      endpoint::PodSpec spec;
      spec.pod_namespace = "shop";
      spec.name = name;
      spec.labels = {{"app", name}};
      pod.labels = std::make_shared<const policy::Labels>(endpoint::identity_labels(spec, {}));
      pod.addresses = {*IpAddress::parse(address)};
      pod.interface = std::string("lxc") + name;
      made->identities.push_back({identity, pod.labels});
      made->endpoints.push_back({id, identity, "shop", name, {}});
      pods.push_back(std::move(pod));
    }
    policy::SequentialPrefixes prefixes;
    policy::SequentialBits bits;
    in_force.input = made;
    in_force.program = policy::compile(*made, prefixes, bits).program;
    const auto named = in_force.program->prefixes();
    in_force.registry = std::make_shared<endpoint::Registry>(
        std::move(pods), std::vector<policy::Program::Prefix>(named.begin(), named.end()));
  }

  // What the kernel would say of a TCP flow that the client opens.
  [[nodiscard]] weir_event event(const char* to, std::uint16_t port, weir_verdict verdict,
                                 weir_drop reason) const {
    weir_event out{};
    out.time_ns = boottime_ns();
    set(out.tuple.source, "10.0.1.11");
    set(out.tuple.destination, to);
    out.tuple.source_port_be = htons(40000);
    out.tuple.destination_port_be = htons(port);
    out.tuple.protocol = IPPROTO_TCP;
    out.endpoint = kClient;
    out.identity = in_force.registry->identity_of(*IpAddress::parse(to));
    out.direction = WEIR_EGRESS;
    out.verdict = verdict;
    out.reason = reason;
    return out;
  }
  [[nodiscard]] admin::FlowRow row(const weir_event& of) { return rows.row_of(of, in_force); }

  static void set(weir_addr& address, const char* text) {
    const auto bytes = IpAddress::parse(text)->bytes();
    std::memcpy(address.bytes, bytes.data(), bytes.size());
  }

  Controller::InForce in_force;
  test::ManualClock clock;
  test::RecordingRedirector kernel;
  dns::FqdnCache cache{kernel, [this] {
                         dns::FqdnCacheOptions options = clock.options();
                         options.min_ttl = std::chrono::seconds(1);
                         options.grace = std::chrono::seconds(1);
                         options.remember = std::chrono::seconds(600);
                         return options;
                       }()};
  FlowRows rows{cache, 0};
};

TEST_CASE("a flow has the names of both pods, and of the rule that allowed it") {
  World world;
  weir_event event = world.event("10.0.1.12", 80, WEIR_ALLOW, WEIR_DROP_NONE);
  std::uint32_t number = 0;
  for (const auto& row : world.in_force.program->find(kClient)->rows()) {
    number = row.key.identity == kWebIdentity ? row.entry.rule : number;
  }
  event.rule = number;
  const auto row = world.row(event);
  CHECK(row.verdict == admin::FlowVerdict::kForwarded);
  CHECK(row.reason.empty());
  CHECK(row.direction == "egress");
  CHECK(row.protocol == "TCP");
  CHECK(row.source.pod == "client");
  CHECK(row.source.port == 40000);
  CHECK(row.destination.pod == "web");
  CHECK(row.destination.identity == kWebIdentity);
  CHECK(row.policy == "shop/client");
  CHECK(row.rule == "egress rule 1");
  // By rows of another process the number means nothing.
  FlowRows later(world.cache, event.time_ns + 1);
  CHECK(later.row_of(event, world.in_force).policy.empty());
}

TEST_CASE("a denied flow is told by the default deny, and with what came nearest") {
  World world;
  const auto row = world.row(world.event("10.0.1.12", 81, WEIR_DENY, WEIR_DROP_POLICY));
  CHECK(row.verdict == admin::FlowVerdict::kDropped);
  CHECK(row.reason == "POLICY_DENIED");
  CHECK(row.policy == "default-deny");
  CHECK(row.rule.empty());
  CHECK_THAT(row.nearest, ContainsSubstring("shop/client"));
  CHECK_THAT(row.nearest, ContainsSubstring("80/TCP"));
}

TEST_CASE("outside addresses have the name of their entity or prefix") {
  World world;
  CHECK(
      world.row(world.event("203.0.113.9", 443, WEIR_DENY, WEIR_DROP_POLICY)).destination.entity ==
      "world-ipv4");
  CHECK(
      world.row(world.event("198.51.100.7", 443, WEIR_ALLOW, WEIR_DROP_NONE)).destination.entity ==
      "198.51.100.0/24");
}

TEST_CASE("a flow to an address whose name is over is told by the name and its age") {
  World world;
  const auto* policy = world.in_force.program->find(kClient);
  const auto denied = world.event("203.0.113.9", 443, WEIR_DENY, WEIR_DROP_POLICY);
  REQUIRE(world.cache
              .learn(*policy, kClient, *DnsName::from_text("api.example.test"), 1,
                     {*IpAddress::parse("203.0.113.9")})
              .has_value());
  CHECK(world.row(denied).reason == "POLICY_DENIED"); // of another port, say: the name is not over
  world.clock.advance(std::chrono::seconds(9));
  const auto over = world.row(denied);
  CHECK(over.reason == "FQDN_EXPIRED name=api.example.test age=7s");
  // For another pod it never was.
  weir_event other = denied;
  other.endpoint = kWeb;
  World::set(other.tuple.source, "10.0.1.12");
  CHECK(world.row(other).reason == "POLICY_DENIED");
  // And an explicit deny stays one.
  CHECK(world.row(world.event("203.0.113.9", 443, WEIR_DENY, WEIR_DROP_POLICY_DENY)).reason ==
        "POLICY_DENY");
}

TEST_CASE("what cannot be known is left out: before there is a policy, and of a forged address") {
  World world;
  FlowRows rows(world.cache, 0);
  weir_event event = world.event("203.0.113.9", 443, WEIR_DENY, WEIR_DROP_NO_POLICY);
  const auto early = rows.row_of(event, {});
  CHECK(early.reason == "NO_POLICY");
  CHECK(early.source.pod.empty());
  CHECK(early.policy.empty());
  event.endpoint = 0;
  event.identity = 0;
  event.reason = WEIR_DROP_SPOOFED;
  const auto forged = world.row(event);
  CHECK(forged.reason == "SPOOFED");
  CHECK(forged.source.pod.empty()); // though the address is the client's
  CHECK(forged.policy.empty());
  event.reason = WEIR_DROP_MAX - 1;
  CHECK(world.row(event).reason == "UNKNOWN");
}

TEST_CASE("ICMP has no ports, and an audited refusal is told as one") {
  World world;
  weir_event event = world.event("203.0.113.9", 8, WEIR_ALLOW, WEIR_DROP_AUDIT);
  event.tuple.protocol = IPPROTO_ICMP;
  const auto row = world.row(event);
  CHECK(row.verdict == admin::FlowVerdict::kAudit);
  CHECK(row.protocol == "ICMP");
  CHECK(row.source.port == 0);
  CHECK(row.destination.port == 0);
}

} // namespace
