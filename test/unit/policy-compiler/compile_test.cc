#include "policy-compiler/compile.h"
#include "policy-compiler/runtime/http_matcher.h"
#include "test/unit/policy-compiler/fixture.h"

#include <algorithm>

using namespace weir;
using namespace weir::policy;
using namespace weir::policy::test;

namespace {

L7Decision get(const FlowDecision& flow, std::string_view method, std::string_view path,
               std::string_view host = "web") {
  return judge_http(flow, {method, path, host, {}});
}
bool asks(const FlowDecision& flow, std::string_view name) {
  return judge_dns(flow, *DnsName::from_text(name)).allowed;
}
bool mentions(const CompileResult& result, std::string_view code) {
  return std::any_of(result.diagnostics.begin(), result.diagnostics.end(),
                     [&](const Diagnostic& one) { return one.code == code; });
}

} // namespace

TEST_CASE("a pod that no policy selects is not enforced and has no rows") {
  Fixture f;
  f.policy("p", "{endpointSelector: {matchLabels: {app: api}}, ingress: [{}]}").compile();
  CHECK_FALSE(f.web().enforced(Direction::kIngress));
  CHECK(f.web().rows().empty());
  CHECK(f.ingress(Fixture::kClient, 80).verdict == Verdict::kAllow);
}

TEST_CASE("an empty ingress rule denies everything in its direction only") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, ingress: [{}]}").compile();
  CHECK(f.web().enforced(Direction::kIngress));
  CHECK_FALSE(f.web().enforced(Direction::kEgress));
  const FlowDecision decision = f.ingress(Fixture::kClient, 80);
  CHECK(decision.verdict == Verdict::kDeny);
  REQUIRE(decision.rule != nullptr);
  CHECK(decision.rule->label == "default-deny");
  CHECK(decision.rule == &default_deny());
}

TEST_CASE("a selector without a namespace means the policy's own") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]}")
      .compile();
  CHECK(f.ingress(Fixture::kClient, 80).verdict == Verdict::kAllow);
  CHECK(f.ingress(Fixture::kOther, 80).verdict == Verdict::kDeny);
}

TEST_CASE("absent, empty and wildcard peers are three different things") {
  Fixture f;
  f.policy("any", "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"1\"}]}]}]}")
      .policy("none", "{endpointSelector: {}, ingress: [{fromEndpoints: [], toPorts: [{ports: "
                      "[{port: \"2\"}]}]}]}")
      .policy("all", "{endpointSelector: {}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: "
                     "[{port: \"3\"}]}]}]}")
      .compile();
  CHECK(f.ingress(WEIR_IDENTITY_WORLD_IPV4, 1).verdict == Verdict::kAllow);
  CHECK(f.ingress(99999, 1).verdict == Verdict::kAllow); // an identity nobody has told of
  CHECK(f.ingress(Fixture::kClient, 2).verdict == Verdict::kDeny);
  CHECK(f.ingress(Fixture::kClient, 3).verdict == Verdict::kAllow);
  CHECK(f.ingress(Fixture::kOther, 3).verdict == Verdict::kDeny);
  CHECK(f.ingress(WEIR_IDENTITY_WORLD_IPV4, 3).verdict == Verdict::kDeny);
}

TEST_CASE("the node reaches its pods below what the user says") {
  Fixture f;
  f.input.options.allow_localhost = true;
  f.policy("p", "{endpointSelector: {}, ingress: [{}]}").compile();
  CHECK(f.ingress(WEIR_IDENTITY_HOST, 80).verdict == Verdict::kAllow);
  CHECK(f.ingress(WEIR_IDENTITY_REMOTE_NODE, 80).verdict == Verdict::kDeny);

  Fixture denied;
  denied.policy("p", "{endpointSelector: {}, ingressDeny: [{fromEntities: [host]}]}").compile();
  CHECK(denied.ingress(WEIR_IDENTITY_HOST, 80).verdict == Verdict::kDeny);

  Fixture strict;
  strict.input.options.allow_localhost = false;
  strict.policy("p", "{endpointSelector: {}, ingress: [{}]}").compile();
  CHECK(strict.ingress(WEIR_IDENTITY_HOST, 80).verdict == Verdict::kDeny);
}

TEST_CASE("an HTTP rule redirects, and a denial names the nearest miss") {
  Fixture f;
  f.policy("api", "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"80\", protocol: "
                  "TCP}], rules: {http: [{method: GET, path: /discount}, {method: POST, path: "
                  "\"/orders/.*\", headers: [\"X-Token: abc\"]}]}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  CHECK(flow.verdict == Verdict::kRedirect);
  CHECK(flow.protocol == L7Protocol::kHttp);
  CHECK_FALSE(flow.any);
  CHECK(get(flow, "GET", "/discount").allowed);
  CHECK(get(flow, "GET", "/discount").rule->label == "shop/api");

  const L7Decision method = get(flow, "POST", "/discount");
  CHECK_FALSE(method.allowed);
  CHECK(method.reason == "method");
  CHECK(method.rule->label == "shop/api");
  CHECK(get(flow, "GET", "/discount?x=1").reason == "path");
  CHECK(get(flow, "GET", "/Discount").reason == "path");

  const HttpHeader token[] = {{"x-token", "abc"}};
  CHECK(judge_http(flow, {"POST", "/orders/1", "web", token}).allowed);
  CHECK(get(flow, "POST", "/orders/1").reason == "header");
}

TEST_CASE("a plain allow by any route widens HTTP to everything") {
  const std::string http = "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: "
                           "client}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: "
                           "{http: [{path: /a}]}}]}]}";
  const std::string plain[] = {
      "{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}",
      "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"70\", endPort: 90}]}]}]}",
      "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"0\"}]}]}]}"};
  for (const std::string& other : plain) {
    Fixture f;
    f.policy("http", http).policy("plain", other).compile();
    const FlowDecision flow = f.ingress(Fixture::kClient, 80);
    CHECK(flow.verdict == Verdict::kRedirect);
    CHECK(flow.any);
    CHECK(get(flow, "GET", "/b").allowed);
  }
}

TEST_CASE("deny beats allow and redirect, however specific they are") {
  Fixture f;
  f.policy("allow",
           "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: client}}], "
           "toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{}]}}]}]}")
      .policy("deny",
              "{endpointSelector: {}, ingressDeny: [{fromEntities: [all], toPorts: [{ports: "
              "[{port: \"1\", endPort: 1000}]}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  CHECK(flow.verdict == Verdict::kDeny);
  CHECK(flow.rule->label == "shop/deny");
  CHECK(flow.rule->section == "ingressDeny");
}

TEST_CASE("without default deny L7 rules look and let everything pass") {
  Fixture f;
  f.policy("watch",
           "{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingress: [{toPorts: "
           "[{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: /a}]}}]}]}")
      .compile();
  CHECK(f.web().enforced(Direction::kIngress));
  CHECK(f.ingress(Fixture::kOther, 443).verdict == Verdict::kAllow);
  CHECK(get(f.ingress(Fixture::kClient, 80), "GET", "/b").allowed);

  f.policy("deny", "{endpointSelector: {}, ingress: [{}]}").compile();
  CHECK(f.ingress(Fixture::kOther, 443).verdict == Verdict::kDeny);
  CHECK_FALSE(get(f.ingress(Fixture::kClient, 80), "GET", "/b").allowed);
}

TEST_CASE("a DNS rule is widened by its own port alone") {
  const std::string dns = "{endpointSelector: {}, egress: [{toEndpoints: [{}], toPorts: [{ports: "
                          "[{port: \"53\", protocol: UDP}], rules: {dns: [{matchPattern: "
                          "\"*.example.com\"}]}}]}]}";
  Fixture narrow;
  narrow.policy("dns", dns)
      .policy("range",
              "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: \"50\", endPort: "
              "60}]}]}, {toEndpoints: [{}]}]}")
      .compile();
  const FlowDecision flow = narrow.egress(Fixture::kApi, 53, IPPROTO_UDP);
  CHECK(flow.protocol == L7Protocol::kDns);
  CHECK(asks(flow, "www.example.com"));
  CHECK_FALSE(asks(flow, "www.example.org"));
  CHECK(judge_dns(flow, *DnsName::from_text("x.org")).reason == "name");

  Fixture wide;
  wide.policy("dns", dns)
      .policy("exact", "{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: \"53\"}]}]}]}")
      .compile();
  CHECK(asks(wide.egress(Fixture::kApi, 53, IPPROTO_UDP), "www.example.org"));
}

TEST_CASE("server names: the same selector and ports do not lift them, another selector does") {
  const std::string tls = "{endpointSelector: {}, egress: [{toEntities: [world], toPorts: [{ports: "
                          "[{port: \"443\", protocol: TCP}], serverNames: [\"*.example.com\"]}]}]}";
  Fixture same;
  same.policy("tls", tls)
      .policy("plain", "{endpointSelector: {}, egress: [{toEntities: [world], toPorts: [{ports: "
                       "[{port: \"443\", protocol: TCP}]}]}]}")
      .compile();
  const FlowDecision flow = same.egress(WEIR_IDENTITY_WORLD_IPV4, 443);
  CHECK(flow.protocol == L7Protocol::kTls);
  CHECK(judge_sni(flow, "www.example.com").allowed);
  CHECK(judge_sni(flow, "WWW.EXAMPLE.COM").allowed);
  CHECK(judge_sni(flow, "example.org").reason == "sni");
  CHECK_FALSE(judge_sni(flow, std::nullopt).allowed);

  Fixture other;
  other.policy("tls", tls)
      .policy("plain",
              "{endpointSelector: {}, egress: [{toEntities: [all], toPorts: [{ports: [{port: "
              "\"443\", protocol: TCP}]}]}]}")
      .compile();
  CHECK(judge_sni(other.egress(WEIR_IDENTITY_WORLD_IPV4, 443), "example.org").allowed);
}

namespace {

// A toPorts entry for TLS on port 443, and what it asks.
std::string on_443(const std::string& asks) {
  return "{ports: [{port: \"443\", protocol: TCP}], " + asks + "}";
}
const std::string kInside = "terminatingTLS: {secret: {name: s}}, rules: {http: [{path: /a}]}";

std::string to_api(const std::string& ports, const std::string& selector = "app: api") {
  return "{toEndpoints: [{matchLabels: {" + selector + "}}], toPorts: [" + ports + "]}";
}
std::string web_egress(const std::string& rules) {
  return "{endpointSelector: {matchLabels: {app: web}}, egress: [" + rules + "]}";
}

} // namespace

TEST_CASE("server names that pass unread stand beside rules that look inside TLS") {
  const std::string passes = on_443("serverNames: [bank.test, both.test]");
  const std::string inside = on_443("serverNames: [api.test, both.test], " + kInside);
  Fixture f;
  SECTION("in one rule") { f.policy("p", web_egress(to_api(passes + ", " + inside))); }
  SECTION("in two policies") {
    f.policy("one", web_egress(to_api(passes))).policy("two", web_egress(to_api(inside)));
  }
  SECTION("in two policies, the other way round") {
    f.policy("one", web_egress(to_api(inside))).policy("two", web_egress(to_api(passes)));
  }
  SECTION("by two selectors") {
    f.policy("p", web_egress(to_api(passes) + ", " +
                             to_api(inside, "io.kubernetes.pod.namespace: shop, app: api")));
  }
  f.compile();
  CHECK_FALSE(mentions(f.result, "l7-conflict"));
  const FlowDecision flow = f.egress(Fixture::kApi, 443);
  REQUIRE(flow.protocol == L7Protocol::kHttp);
  CHECK(passes_unread(flow, "bank.test"));
  CHECK_FALSE(passes_unread(flow, "api.test"));
  CHECK_FALSE(passes_unread(flow, "both.test")); // who looks inside goes before
  CHECK_FALSE(passes_unread(flow, "other.test"));
  CHECK_FALSE(passes_unread(flow, std::nullopt));
  const FlowDecision unread = unread_tls(flow);
  CHECK(judge_sni(unread, "bank.test").allowed);
  CHECK_FALSE(judge_sni(unread, "api.test").allowed);
  CHECK_FALSE(get(unread, "GET", "/a").allowed);
  CHECK(get(flow, "GET", "/a").allowed);
  CHECK_FALSE(get(flow, "GET", "/b").allowed);
}

TEST_CASE("a rule that looks inside TLS whatever the name leaves alone the names that pass") {
  Fixture f;
  f.policy("p",
           web_egress(to_api(on_443("serverNames: [\"*.bank.test\"]") + ", " + on_443(kInside))))
      .compile();
  const FlowDecision flow = f.egress(Fixture::kApi, 443);
  CHECK(passes_unread(flow, "www.bank.test"));
  CHECK_FALSE(passes_unread(flow, "bank.test"));
}

TEST_CASE("H11: a denied path is denied however its escapes are spelt, an allowed one as written") {
  const auto allows = [](const std::string& denied, std::string_view path) {
    Fixture f;
    f.policy("p",
             "{endpointSelector: {}, ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "
             "\"80\", protocol: TCP}], rules: {http: [{path: '/ok%C3/.*'}, {path: "
             "'/caf.*'}]}}]}], ingressDeny: [{fromEntities: [all], toPorts: [{ports: [{port: "
             "\"80\", protocol: TCP}], rules: {http: [{path: '" +
                 denied + "'}]}}]}]}")
        .compile();
    return get(f.ingress(Fixture::kClient, 80), "GET", path).allowed;
  };
  for (const char* const denied : {"/caf%C3%A9", "/caf%c3%A9", "/caf\\%C3%a9", "/(caf%C3%A9|x)"}) {
    CAPTURE(denied);
    CHECK_FALSE(allows(denied, "/caf%C3%A9"));
    CHECK_FALSE(allows(denied, "/caf%c3%a9"));
    CHECK(allows(denied, "/caf%C3"));
    CHECK(allows(denied, "/ok%C3/a"));
    CHECK_FALSE(allows(denied, "/ok%c3/a"));
  }
  // What is no escape by itself means what it says.
  CHECK_FALSE(allows("/caf%C3+", "/caf%C333"));
  CHECK_FALSE(allows("/caf[%C3]", "/caf3"));
  CHECK_FALSE(allows("/caf\\Q%C3\\E", "/caf%C3"));
}

TEST_CASE("where nothing looks inside TLS, requests and server names are still at odds") {
  const std::string passes = on_443("serverNames: [bank.test]");
  Fixture same;
  same.policy("p", web_egress(to_api(passes + ", " + on_443("rules: {http: [{path: /a}]}"))))
      .compile();
  CHECK(mentions(same.result, "l7-conflict"));
  CHECK(same.egress(Fixture::kApi, 443).verdict == Verdict::kDeny);

  Fixture apart; // HTTP takes the flow
  apart
      .policy("p", web_egress(to_api(passes) + ", " +
                              to_api(on_443("rules: {http: [{path: /a}]}"),
                                     "io.kubernetes.pod.namespace: shop, app: api")))
      .compile();
  CHECK(apart.egress(Fixture::kApi, 443).protocol == L7Protocol::kHttp);
  CHECK_FALSE(passes_unread(apart.egress(Fixture::kApi, 443), "bank.test"));
}

TEST_CASE("what passes unread is refused where a denial could not be judged") {
  const std::string rules =
      to_api(on_443("serverNames: [bank.test]") + ", " + on_443(kInside)) + "], egressDeny: [";
  Fixture requests;
  requests.policy("p", web_egress(rules + to_api(on_443("rules: {http: [{path: /b}]}")))).compile();
  CHECK_FALSE(passes_unread(requests.egress(Fixture::kApi, 443), "bank.test"));
  CHECK(get(requests.egress(Fixture::kApi, 443), "GET", "/a").allowed);

  Fixture names;
  names.policy("p", web_egress(rules + to_api(on_443("serverNames: [evil.test]")))).compile();
  CHECK_FALSE(passes_unread(names.egress(Fixture::kApi, 443), "bank.test"));
}

TEST_CASE("overlapping prefixes and their holes are told apart by cells") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: "
                "[10.1.0.0/16]}]}, {toCIDR: [10.1.2.0/24], toPorts: [{ports: [{port: \"80\"}]}]}]}")
      .compile();
  CHECK(f.egress(f.outside("10.9.9.9"), 1).verdict == Verdict::kAllow);
  CHECK(f.egress(f.outside("10.1.9.9"), 1).verdict == Verdict::kDeny);
  CHECK(f.egress(f.outside("10.1.2.3"), 80).verdict == Verdict::kAllow);
  CHECK(f.egress(f.outside("10.1.2.3"), 81).verdict == Verdict::kDeny);
  CHECK(f.egress(f.outside("11.0.0.1"), 80).verdict == Verdict::kDeny);
  CHECK(f.egress(Fixture::kApi, 80).verdict == Verdict::kDeny); // a pod has no CIDR
}

TEST_CASE("0.0.0.0/0 is IPv4, ::/0 is IPv6, and the kernel's one tree keeps them apart") {
  Fixture v4;
  v4.policy("p", "{endpointSelector: {}, egress: [{toCIDR: [0.0.0.0/0]}]}").compile();
  CHECK(v4.egress(v4.outside("1.2.3.4"), 80).verdict == Verdict::kAllow);
  CHECK(v4.egress(v4.outside("2001:db8::1"), 80).verdict == Verdict::kDeny);
  CHECK(v4.egress(WEIR_IDENTITY_HOST, 80).verdict == Verdict::kDeny);

  Fixture v6;
  v6.policy("p", "{endpointSelector: {}, egress: [{toCIDR: [\"::/0\"]}]}").compile();
  CHECK(v6.egress(v6.outside("1.2.3.4"), 80).verdict == Verdict::kDeny);
  CHECK(v6.egress(v6.outside("2001:db8::1"), 80).verdict == Verdict::kAllow);
  // In 16-byte form ::/0 lies above every IPv4 address; a cell of IPv4 stands between.
  CHECK(v6.prefixes.numbers.contains(*IpPrefix::parse("0.0.0.0/0")));
}

TEST_CASE("world means every cell and both families, never pods or nodes") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, egress: [{toEntities: [world]}, {toCIDR: [10.0.0.0/8], "
                "toPorts: [{ports: [{port: \"1\"}]}]}]}")
      .compile();
  for (const IdentityId peer :
       {IdentityId{WEIR_IDENTITY_WORLD}, IdentityId{WEIR_IDENTITY_WORLD_IPV4},
        IdentityId{WEIR_IDENTITY_WORLD_IPV6}, f.outside("10.1.1.1")}) {
    CHECK(f.egress(peer, 80).verdict == Verdict::kAllow);
  }
  CHECK(f.egress(Fixture::kApi, 80).verdict == Verdict::kDeny);
  CHECK(f.egress(WEIR_IDENTITY_REMOTE_NODE, 80).verdict == Verdict::kDeny);
}

TEST_CASE("toFQDNs opens learned addresses by the group's bit and nothing else") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: www.example.com}, "
                "{matchPattern: \"*.example.org\"}], toPorts: [{ports: [{port: \"443\", protocol: "
                "TCP}]}]}]}")
      .compile();
  const std::uint64_t groups = f.web().fqdn_groups(*DnsName::from_text("WWW.example.com."));
  CHECK(groups != 0);
  CHECK(f.web().fqdn_groups(*DnsName::from_text("a.example.org")) == groups);
  CHECK(f.web().fqdn_groups(*DnsName::from_text("example.org")) == 0);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 443, IPPROTO_TCP, groups).verdict == Verdict::kAllow);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 443, IPPROTO_TCP, groups << 1).verdict ==
        Verdict::kDeny);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 80, IPPROTO_TCP, groups).verdict == Verdict::kDeny);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 443).verdict == Verdict::kDeny);
}

TEST_CASE("an escaped dot in a name passes for no other name") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: www.good.com}, "
                "{matchPattern: \"*.good.com\"}]}]}")
      .compile();
  CHECK(f.web().fqdn_groups(*DnsName::from_text("www.good.com")) != 0);
  CHECK(f.web().fqdn_groups(*DnsName::from_text("www\\.good.com")) == 0);
  CHECK(f.web().fqdn_groups(*DnsName::from_text("a\\.b.good.com")) == 0);
}

TEST_CASE("names that the same rules name share a bit, others do not") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: a.com}, {matchName: b.com}, "
           "{matchName: c.com}]}, {toFQDNs: [{matchName: c.com}, {matchName: d.com}]}]}")
      .compile();
  CHECK(f.bits.bits.at(1).size() == 3);
  const auto groups = [&](const char* name) {
    return f.web().fqdn_groups(*DnsName::from_text(name));
  };
  CHECK(groups("a.com") == groups("b.com"));
  CHECK(groups("a.com") != groups("c.com"));
  CHECK(groups("c.com") != groups("d.com"));
}

TEST_CASE("the 65th group of names allows nothing and is told") {
  Fixture f;
  std::string rules;
  for (int i = 0; i < 65; ++i) {
    rules += "{toFQDNs: [{matchName: n" + std::to_string(i) + ".com}]}, ";
  }
  f.policy("p", "{endpointSelector: {}, egress: [" + rules + "]}").compile();
  CHECK(mentions(f.result, "fqdn-groups"));
  int without = 0;
  for (int i = 0; i < 65; ++i) {
    const auto name = DnsName::from_text("n" + std::to_string(i) + ".com");
    without += f.web().fqdn_groups(*name) == 0 ? 1 : 0;
  }
  CHECK(without == 1);
}

TEST_CASE("a name can be denied, as an extension") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, egress: [{toEntities: [world]}], egressDeny: [{toFQDNs: "
                "[{matchName: bad.com}]}]}")
      .compile();
  const std::uint64_t bad = f.web().fqdn_groups(*DnsName::from_text("bad.com"));
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 80).verdict == Verdict::kAllow);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 80, IPPROTO_TCP, bad).verdict == Verdict::kDeny);
}

TEST_CASE("an HTTP deny rule refuses what it matches and allows nothing by itself") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"80\", protocol: "
           "TCP}]}]}], ingressDeny: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}, {port: "
           "\"81\", protocol: TCP}], rules: {http: [{path: \"/admin/.*\"}]}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  CHECK(flow.verdict == Verdict::kRedirect);
  CHECK(get(flow, "GET", "/").allowed);
  CHECK_FALSE(get(flow, "GET", "/admin/x").allowed);
  CHECK(get(flow, "GET", "/admin/x").reason == "denied");
  CHECK_FALSE(get(f.ingress(Fixture::kClient, 81), "GET", "/").allowed);
}

TEST_CASE("two L7 protocols for one peer and port: the second policy loses its allows only") {
  Fixture f;
  f.policy("first", "{endpointSelector: {}, egress: [{toEndpoints: [{}], toPorts: [{ports: [{port: "
                    "\"53\", protocol: TCP}], rules: {dns: [{}]}}]}]}")
      .policy("second",
              "{endpointSelector: {}, egress: [{toEndpoints: [{}], toPorts: [{ports: [{port: "
              "\"53\", protocol: TCP}], rules: {http: [{}]}}]}, {toEndpoints: [{}], toPorts: "
              "[{ports: [{port: \"80\"}]}]}], egressDeny: [{toEntities: [world]}]}")
      .compile();
  REQUIRE(mentions(f.result, "l7-conflict"));
  CHECK(f.egress(Fixture::kApi, 53).protocol == L7Protocol::kDns);
  CHECK(f.egress(Fixture::kApi, 80).verdict == Verdict::kDeny);
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 80).rule->label == "shop/second");
}

TEST_CASE("what cannot be resolved is nobody in an allow rule and everybody in a deny rule") {
  Fixture f;
  f.policy("allow", "{endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: gone}]}]}")
      .compile();
  CHECK(mentions(f.result, "unresolved"));
  CHECK(f.egress(WEIR_IDENTITY_WORLD_IPV4, 80).verdict == Verdict::kDeny);

  Fixture deny;
  deny.policy("p", "{endpointSelector: {}, egress: [{toEntities: [all]}], egressDeny: [{toCIDRSet: "
                   "[{cidrGroupRef: gone}], toPorts: [{ports: [{port: \"80\"}]}]}]}")
      .compile();
  CHECK(deny.egress(WEIR_IDENTITY_WORLD_IPV4, 80).verdict == Verdict::kDeny);
  CHECK(deny.egress(WEIR_IDENTITY_WORLD_IPV4, 81).verdict == Verdict::kAllow);
}

TEST_CASE("CIDR groups are found by name and by label") {
  Fixture f;
  f.document("apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g, labels: {kind: "
             "partner}}\nspec: {externalCIDRs: [10.0.0.0/8]}\n")
      .policy("p",
              "{endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: g}], toPorts: [{ports: "
              "[{port: \"80\"}]}]}, {toCIDRSet: [{cidrGroupSelector: {matchLabels: {kind: "
              "partner}}, except: [10.1.0.0/16]}], toPorts: [{ports: [{port: \"81\"}]}]}]}")
      .compile();
  CHECK(f.egress(f.outside("10.1.2.3"), 80).verdict == Verdict::kAllow);
  CHECK(f.egress(f.outside("10.1.2.3"), 81).verdict == Verdict::kDeny);
  CHECK(f.egress(f.outside("10.2.2.3"), 81).verdict == Verdict::kAllow);
}

TEST_CASE("a named port is the subject's at ingress and each peer's at egress") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: HTTP, protocol: "
                "TCP}]}]}], egress: [{toPorts: [{ports: [{port: http, protocol: TCP}]}]}]}")
      .compile();
  CHECK(f.ingress(Fixture::kClient, 8080).verdict == Verdict::kAllow);
  CHECK(f.ingress(Fixture::kClient, 80).verdict == Verdict::kDeny);
  CHECK(f.egress(Fixture::kApi, 80).verdict == Verdict::kAllow);
  CHECK(f.egress(Fixture::kApi, 8080).verdict == Verdict::kDeny);
  CHECK(f.egress(Fixture::kClient, 80).verdict == Verdict::kDeny);
  CHECK(f.egress(Fixture::kApi, 80, IPPROTO_UDP).verdict == Verdict::kDeny);
}

TEST_CASE("services mean the pods behind them, or their outside addresses") {
  Fixture f;
  f.input.services.push_back({"shop", "api", {}, {{"app", "api"}}, {}});
  f.input.services.push_back(
      {"shop", "legacy", {{"old", "yes"}}, {}, {*IpAddress::parse("9.9.9.9")}});
  f.policy("p", "{endpointSelector: {}, egress: [{toServices: [{k8sService: {serviceName: api, "
                "namespace: shop}}]}, {toServices: [{k8sServiceSelector: {selector: {matchLabels: "
                "{old: \"yes\"}}}}]}]}")
      .compile();
  CHECK(f.egress(Fixture::kApi, 80).verdict == Verdict::kAllow);
  CHECK(f.egress(Fixture::kClient, 80).verdict == Verdict::kDeny);
  CHECK(f.egress(f.outside("9.9.9.9"), 80).verdict == Verdict::kAllow);
}

TEST_CASE("kafka, and TLS without HTTP rules, open nothing; a deny of them closes the port") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"9092\", protocol: TCP}], "
           "rules: {kafka: [{topic: t}]}}]}, {toPorts: [{ports: [{port: \"443\", protocol: TCP}], "
           "terminatingTLS: {secret: {name: s}}}]}, {toPorts: [{ports: [{port: \"8443\", "
           "protocol: TCP}], terminatingTLS: {secret: {name: s}}, rules: {http: [{}]}}]}]}")
      .compile();
  CHECK(f.ingress(Fixture::kClient, 9092).verdict == Verdict::kDeny);
  CHECK(f.ingress(Fixture::kClient, 443).verdict == Verdict::kDeny);
  CHECK(f.ingress(Fixture::kClient, 8443).verdict == Verdict::kRedirect);

  Fixture deny;
  deny.policy("p",
              "{endpointSelector: {}, ingress: [{fromEntities: [all]}], ingressDeny: [{toPorts: "
              "[{ports: [{port: \"9092\", protocol: TCP}], rules: {kafka: [{topic: t}]}}]}]}")
      .compile();
  CHECK(deny.ingress(Fixture::kClient, 9092).verdict == Verdict::kDeny);
  CHECK(deny.ingress(Fixture::kClient, 9093).verdict == Verdict::kAllow);
}

TEST_CASE("required authentication cannot be proved and opens nothing") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, ingress: [{fromEndpoints: [{}], authentication: {mode: "
           "required}}, {fromEndpoints: [{}], authentication: {mode: disabled}, toPorts: [{ports: "
           "[{port: \"80\"}]}]}]}")
      .compile();
  CHECK(f.ingress(Fixture::kClient, 81).verdict == Verdict::kDeny);
  CHECK(f.ingress(Fixture::kClient, 80).verdict == Verdict::kAllow);
}

TEST_CASE("H15: an expression too big to compile fails alone") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], "
           "rules: {http: [{path: '/[\\pL\\pN]{1,900}'}, {path: /ok}]}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  CHECK(get(flow, "GET", "/ok").allowed);
  CHECK_FALSE(get(flow, "GET", "/aaa").allowed);
}

TEST_CASE("a deny rule that cannot be compiled denies what it could be about") {
  Fixture f;
  f.policy("p", "{endpointSelector: {}, ingress: [{fromEntities: [all]}], ingressDeny: [{toPorts: "
                "[{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{method: GET, path: "
                "'/[\\pL\\pN]{1,900}'}]}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  CHECK_FALSE(get(flow, "GET", "/").allowed);
  CHECK(get(flow, "POST", "/").allowed);
}

TEST_CASE("enforcement can be always or never") {
  Fixture always;
  always.input.options.mode = EnforcementMode::kAlways;
  always.compile();
  CHECK(always.ingress(Fixture::kClient, 80).verdict == Verdict::kDeny);
  CHECK(always.egress(Fixture::kApi, 80).verdict == Verdict::kDeny);

  Fixture never;
  never.input.options.mode = EnforcementMode::kNever;
  never.policy("p", "{endpointSelector: {}, ingress: [{}]}").compile();
  CHECK(never.ingress(Fixture::kClient, 80).verdict == Verdict::kAllow);
  CHECK_FALSE(never.web().enforced(Direction::kIngress));
}

TEST_CASE("an endpoint whose identity is not known is held") {
  Fixture f;
  f.input.endpoints.push_back({9, 12345, "shop", "late", {}});
  f.compile();
  CHECK(f.result.program->find(9) == nullptr);
  CHECK(f.result.program->find(1) != nullptr);
}

TEST_CASE("endpoints of one identity share their policy") {
  Fixture f;
  f.input.endpoints.push_back({7, Fixture::kClient, "shop", "client-2", {}});
  f.policy("p", "{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}").compile();
  CHECK(f.result.program->find(7)->rows().data() == f.result.program->find(3)->rows().data());
}

TEST_CASE("the same input gives the same rows in the same order") {
  const auto rows = [] {
    Fixture f;
    f.policy("p",
             "{endpointSelector: {}, ingress: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "
             "\"1\", endPort: 1000}]}]}, {fromEntities: [world], toPorts: [{ports: [{port: "
             "\"80\"}]}]}]}")
        .compile();
    std::string out;
    for (const EndpointPolicy::Row& row : f.web().rows()) {
      out.append(reinterpret_cast<const char*>(&row), sizeof row);
    }
    return out;
  };
  CHECK_FALSE(rows().empty());
  CHECK(rows() == rows());
}

namespace {

std::string audited(const std::string& name, const std::string& spec) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: shop, annotations: {weir.io/enforcement: audit}}\nspec: " + spec + "\n";
}

} // namespace

TEST_CASE("an audited policy's denials are told and not enforced, another policy's are") {
  Fixture f;
  f.document(audited("staged", "{endpointSelector: {matchLabels: {app: web}}, ingress: "
                               "[{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: "
                               "[{port: \"80\", protocol: TCP}], rules: {http: [{method: GET, "
                               "path: /a}]}}]}]}"))
      .compile();
  CHECK(f.web().audited());
  const FlowDecision requests = f.ingress(Fixture::kClient, 80);
  CHECK(requests.verdict == Verdict::kRedirect);
  CHECK_FALSE(judge_http(requests, {"GET", "/a", "web", {}}).audit);
  const L7Decision told = judge_http(requests, {"GET", "/b", "web", {}});
  CHECK(told.allowed);
  CHECK(told.audit);
  CHECK(told.rule->label == "shop/staged");
  CHECK(told.reason == "path");
  const FlowDecision other = f.ingress(Fixture::kOther, 80);
  CHECK(other.verdict == Verdict::kAllow);
  REQUIRE(other.audited != nullptr);
  CHECK(other.audited->label == "default-deny");

  f.policy("real", "{endpointSelector: {matchLabels: {app: web}}, ingressDeny: [{fromEndpoints: "
                   "[{matchLabels: {app: api}}]}]}")
      .compile();
  CHECK(f.ingress(Fixture::kApi, 80).verdict == Verdict::kDeny);
  CHECK(f.ingress(Fixture::kApi, 80).rule->label == "shop/real");
  CHECK(judge_http(f.ingress(Fixture::kClient, 80), {"GET", "/b", "web", {}}).audit == false);
}

TEST_CASE("enforcement is a word that is known") {
  const auto parsed = parse_policies(
      "p.yaml", "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, "
                "annotations: {weir.io/enforcement: dry-run}}\nspec: {endpointSelector: {}, "
                "ingress: [{}]}\n");
  REQUIRE(parsed.size() == 1);
  CHECK(parsed[0].policy == nullptr);
  CHECK(parsed[0].diagnostics.at(0).code == "enforcement");
}

TEST_CASE("P6: a header with a mismatch action refuses nothing and says what is to be done") {
  Fixture f;
  f.policy("p",
           "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: "
           "[{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}], "
           "rules: {http: [{path: /a, headerMatches: [{name: X-A, value: b, mismatch: "
           "REPLACE}, {name: X-C, mismatch: LOG}]}, {path: /b}]}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  const L7Decision decision = judge_http(flow, {"GET", "/a", "web", {}});
  CHECK(decision.allowed);
  REQUIRE(decision.actions[0] != nullptr);
  REQUIRE(decision.actions[0]->list.size() == 2);
  CHECK(decision.actions[0]->list[0].kind == HeaderAction::Kind::kReplace);
  CHECK(decision.actions[0]->list[0].wanted.value == "b");
  CHECK(decision.actions[0]->list[1].kind == HeaderAction::Kind::kLog);
  CHECK(judge_http(flow, {"GET", "/b", "web", {}}).actions[0] == nullptr);
}

TEST_CASE("P6: a rule that speaks of a secret that is not there allows nothing") {
  for (const char* mismatch :
       {"", ", mismatch: LOG", ", mismatch: ADD", ", mismatch: DELETE", ", mismatch: REPLACE"}) {
    CAPTURE(mismatch);
    Fixture f;
    f.policy("p", std::string("{endpointSelector: {matchLabels: {app: web}}, ingress: [{toPorts: "
                              "[{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: "
                              "/a, headerMatches: [{name: X-Token, value: kept, secret: {name: "
                              "token}") +
                      mismatch + "}]}, {path: /b}]}}]}]}");
    const HttpHeader sent[] = {{"x-token", "kept"}};
    f.compile();
    const FlowDecision without = f.ingress(Fixture::kClient, 80);
    CHECK_FALSE(judge_http(without, {"GET", "/a", "web", sent}).allowed);
    CHECK_FALSE(judge_http(without, {"GET", "/a", "web", {}}).allowed);
    CHECK(judge_http(without, {"GET", "/b", "web", {}}).allowed);
    f.input.header_secrets = {{"shop/token", "s3cret"}};
    f.compile();
    const HttpHeader right[] = {{"x-token", "s3cret"}};
    CHECK(judge_http(f.ingress(Fixture::kClient, 80), {"GET", "/a", "web", right}).allowed);
    CHECK(judge_http(f.ingress(Fixture::kClient, 80), {"GET", "/a", "web", sent}).allowed ==
          (mismatch[0] != '\0'));
  }
}

TEST_CASE("where names are wanted, questions that are plainly allowed go by way of the proxy") {
  const std::string allow = "toEndpoints: [{matchLabels: {app: client}}]";
  const auto kernel_says = [&](const std::string& more, bool observe, std::uint8_t protocol,
                               std::uint16_t port) -> int {
    Fixture f;
    f.input.options.observe_dns = observe;
    f.policy("names", "{endpointSelector: {matchLabels: {app: web}}, egress: [" + more + "]}");
    f.compile();
    // What Program says is the same either way.
    CHECK(f.egress(Fixture::kClient, 53, IPPROTO_UDP).verdict == Verdict::kAllow);
    int verdict = -1;
    std::uint32_t longest = 0;
    for (const EndpointPolicy::Row& row : f.web().rows()) {
      const std::uint32_t bits = row.key.prefix_length;
      const bool any_port = bits <= WEIR_POLICY_PREFIX_ANY_PORT;
      if (row.key.direction == WEIR_EGRESS && row.key.identity == Fixture::kClient &&
          (bits == WEIR_POLICY_PREFIX_ANY_PROTOCOL || row.key.protocol == protocol) &&
          (any_port ||
           (bits == WEIR_POLICY_PREFIX_ANY_PORT + 16 && ntohs(row.key.port_be) == port)) &&
          bits >= longest) {
        longest = bits;
        verdict = row.entry.verdict;
      }
    }
    return verdict;
  };
  const std::string names = ", {toFQDNs: [{matchName: api.example.com}]}";
  const std::string port = "{" + allow + ", toPorts: [{ports: [{port: '53', protocol: ANY}]}]}";
  for (const std::uint8_t protocol : {std::uint8_t{IPPROTO_UDP}, std::uint8_t{IPPROTO_TCP}}) {
    CHECK(kernel_says("{" + allow + "}" + names, true, protocol, 53) == WEIR_REDIRECT);
    CHECK(kernel_says("{" + allow + "}" + names, true, protocol, 54) == WEIR_ALLOW);
    CHECK(kernel_says(port + names, true, protocol, 53) == WEIR_REDIRECT);
    CHECK(kernel_says(port + names, false, protocol, 53) == WEIR_ALLOW);
    CHECK(kernel_says(port, true, protocol, 53) == WEIR_ALLOW); // nobody wants names
  }
}
