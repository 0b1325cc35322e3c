// The annotation weir.io/bind-fqdn: an address opened by a name is good for that name alone.
#include "policy-compiler/explain/explain.h"
#include "policy-compiler/runtime/near_request.h"
#include "test/unit/policy-compiler/fixture.h"

#include <algorithm>

namespace weir::policy {
namespace {

using test::Fixture;

std::string bound(const std::string& spec, const std::string& more = {}) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: out, namespace: "
         "shop, annotations: {weir.io/bind-fqdn: \"true\"" +
         more + "}}\nspec: {endpointSelector: {matchLabels: {app: web}}, egress: [" + spec + "]}\n";
}

std::string open_ports(const std::string& name, const std::string& ports) {
  return "{toFQDNs: [{matchName: " + name + "}], toPorts: [" + ports + "]}";
}

const std::string kBothPorts =
    "{ports: [{port: \"80\", protocol: TCP}, {port: \"443\", protocol: TCP}]}";

std::uint64_t groups(const Fixture& f, const std::string& name) {
  return f.web().fqdn_groups(DnsName::from_text(name).value());
}

// Of an address that both names share, as far as they are in some policy.
FlowDecision shared(const Fixture& f, std::uint16_t port) {
  return f.egress(WEIR_IDENTITY_WORLD_IPV4, port, IPPROTO_TCP,
                  groups(f, "a.example.com") | groups(f, "b.example.com"));
}

bool asks(const FlowDecision& flow, std::string_view host, std::uint64_t name_groups) {
  return judge_http(flow, {"GET", "/", host, {}}, name_groups).allowed;
}

TEST_CASE("bound names: 443 is judged by server name and 80 by host, in Program and kernel") {
  Fixture f;
  f.document(bound(open_ports("a.example.com", kBothPorts))).compile();
  const std::uint64_t a = groups(f, "a.example.com");
  REQUIRE(a != 0);

  const FlowDecision http = shared(f, 80);
  REQUIRE(http.verdict == Verdict::kRedirect);
  CHECK(http.protocol == L7Protocol::kHttp);
  CHECK(binds_names(http));
  CHECK(asks(http, "a.example.com", a));
  const L7Decision other = judge_http(http, {"GET", "/", "b.example.com", {}}, 0);
  CHECK_FALSE(other.allowed);
  CHECK(other.reason == kNotItsName);
  CHECK(other.rule->label == "shop/out");
  CHECK(near_request(http, {"GET", "/", "b.example.com", {}}) ==
        "`b.example.com` is none of the names that shop/out egress rule 1 opens this address for");

  const FlowDecision tls = shared(f, 443);
  REQUIRE(tls.verdict == Verdict::kRedirect);
  CHECK(tls.protocol == L7Protocol::kTls);
  CHECK(judge_sni(tls, "a.example.com", a).allowed);
  CHECK(judge_sni(tls, "b.example.com", 0).reason == kNotItsName);
  CHECK_FALSE(judge_sni(tls, std::nullopt, 0).allowed);

  CHECK(shared(f, 8080).verdict == Verdict::kDeny);
  for (const EndpointPolicy::Row& row : f.web().rows()) {
    CHECK(row.entry.fqdn_allow == 0); // nothing reaches it around the proxy
  }
  CHECK(std::any_of(f.web().rows().begin(), f.web().rows().end(), [&](const auto& row) {
    return row.key.identity == WEIR_IDENTITY_LEARNED && row.entry.fqdn_redirect == a;
  }));
}

TEST_CASE("bound names: a rule's own matchers still have to accept, and its names alone count") {
  Fixture f;
  f.document(bound(open_ports("a.example.com",
                              "{ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{path: "
                              "/a}]}}, {ports: [{port: \"8443\", protocol: TCP}], serverNames: "
                              "[\"*.example.com\"]}") +
                   ", " +
                   open_ports("b.example.com",
                              "{ports: [{port: \"8080\", protocol: TCP}], rules: {http: [{path: "
                              "/b}]}}")))
      .compile();
  const std::uint64_t a = groups(f, "a.example.com");
  const std::uint64_t b = groups(f, "b.example.com");
  REQUIRE((a & b) == 0);
  const FlowDecision http = shared(f, 8080);
  CHECK(judge_http(http, {"GET", "/a", "a.example.com", {}}, a).allowed);
  CHECK(judge_http(http, {"GET", "/b", "b.example.com", {}}, b).allowed);
  CHECK(judge_http(http, {"GET", "/a", "b.example.com", {}}, b).reason == kNotItsName);
  CHECK(judge_http(http, {"GET", "/c", "a.example.com", {}}, a).reason == "path");
  const FlowDecision tls = shared(f, 8443);
  CHECK(judge_sni(tls, "a.example.com", a).allowed);
  CHECK(judge_sni(tls, "b.example.com", b).reason == kNotItsName);
  CHECK(judge_sni(tls, "a.example.org", a).reason == "sni");
}

TEST_CASE("bound names: deny rules deny the address, and an audited policy tells instead") {
  Fixture f;
  f.document(bound(open_ports("a.example.com", kBothPorts) +
                   "], egressDeny: [{toFQDNs: [{matchName: b.example.com}]}"))
      .compile();
  CHECK(shared(f, 443).verdict == Verdict::kDeny);

  Fixture audited;
  audited.document(bound(open_ports("a.example.com", kBothPorts), ", weir.io/enforcement: audit"))
      .compile();
  const L7Decision told = judge_sni(shared(audited, 443), "b.example.com", 0);
  CHECK(told.allowed);
  CHECK(told.audit);
  CHECK(told.reason == kNotItsName);
}

TEST_CASE("bound names: another policy that opens the address opens it for every name") {
  Fixture f;
  f.document(bound(open_ports("a.example.com", kBothPorts)))
      .policy("world", "{endpointSelector: {}, egress: [{toEntities: [world], toPorts: [{ports: "
                       "[{port: \"80\", protocol: TCP}]}]}]}")
      .compile();
  CHECK(asks(shared(f, 80), "b.example.com", 0));
  CHECK_FALSE(judge_sni(shared(f, 443), "b.example.com", 0).allowed);
}

TEST_CASE("bound names: beside rules that look inside TLS only a learned name passes unread") {
  Fixture f;
  f.document(bound(open_ports("a.example.com", kBothPorts)))
      .policy("inside",
              "{endpointSelector: {matchLabels: {app: web}}, egress: [{toEntities: [world], "
              "toPorts: [{ports: [{port: \"443\", protocol: TCP}], terminatingTLS: {secret: {name: "
              "s}}, rules: {http: [{path: /a}]}}]}]}")
      .compile();
  const std::uint64_t a = groups(f, "a.example.com");
  const FlowDecision flow = shared(f, 443);
  REQUIRE(flow.protocol == L7Protocol::kHttp);
  CHECK(binds_names(flow));
  CHECK(passes_unread(flow, "a.example.com", a));
  CHECK_FALSE(passes_unread(flow, "b.example.com")); // whatever the name: looked into
  CHECK(judge_sni(unread_tls(flow), "a.example.com", a).allowed);
  CHECK_FALSE(judge_sni(unread_tls(flow), "b.example.com").allowed);
}

TEST_CASE("bound names: `false` binds nothing") {
  Fixture f;
  std::string text = bound(open_ports("a.example.com", kBothPorts));
  text.replace(text.find("\"true\""), 6, "\"false\"");
  f.document(text).compile();
  CHECK(shared(f, 443).verdict == Verdict::kAllow);
}

TEST_CASE("bound names: a trace says which name is wrong") {
  Fixture f;
  f.document(bound(open_ports("a.example.com", kBothPorts))).compile();
  Question question;
  question.endpoint = 1;
  question.flow = {Direction::kEgress, WEIR_IDENTITY_WORLD_IPV4, IPPROTO_TCP, 443,
                   groups(f, "a.example.com")};
  question.name_groups = [&](const DnsName& name) { return f.web().fqdn_groups(name); };
  question.server_name = "b.example.com";
  const Explainer explainer(f.input, *f.result.program);
  const auto refused = explainer.explain(question);
  REQUIRE(refused.has_value());
  CHECK_FALSE(refused->allowed);
  CHECK(refused->reason == kNotItsName);
  REQUIRE_FALSE(refused->nearest.empty());
  CHECK(refused->nearest[0].text.starts_with("`b.example.com` is none of the names"));
  question.server_name = "a.example.com";
  const auto allowed = explainer.explain(question);
  REQUIRE(allowed.has_value());
  CHECK(allowed->allowed);
}

} // namespace
} // namespace weir::policy
