// Policy files from arbitrary bytes: YAML → model → program, in a small fixed cluster. Besides
// memory errors it looks for answers that disagree: what a refused document leaves behind, a row
// for the kernel that is wider than what the Program decides, and a Compiler that knew the half of
// the policies before and says something else of all of them.
#include "policy-compiler/compiler.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "proxy/base/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string_view>

using namespace weir;
using namespace weir::policy;

namespace {

CompileInput cluster() {
  CompileInput input;
  const char* apps[] = {"web", "api", "db"};
  for (const char* app : apps) {
    const auto id = static_cast<IdentityId>(WEIR_IDENTITY_FIRST_POD + input.identities.size());
    input.identities.push_back({id,
                                {{"k8s:app", app},
                                 {"k8s:io.kubernetes.pod.namespace", "shop"},
                                 {"k8s:io.cilium.k8s.policy.cluster", "default"},
                                 {"k8s:io.cilium.k8s.policy.serviceaccount", "default"}}});
    const std::vector<NamedPort> ports = {{"http", 8080, IPPROTO_TCP}};
    input.endpoints.push_back(
        {static_cast<EndpointId>(input.endpoints.size() + 1), id, "shop", app, ports});
    input.peer_ports.emplace(id, ports.front());
  }
  return input;
}

bool is_error(const Diagnostic& one) { return one.severity == Severity::kError; }

// Rules have other numbers.
bool same_row(const EndpointPolicy::Row& a, const EndpointPolicy::Row& b) {
  return std::memcmp(&a.key, &b.key, sizeof(a.key)) == 0 && a.entry.verdict == b.entry.verdict &&
         a.entry.fqdn_deny == b.entry.fqdn_deny && a.entry.fqdn_redirect == b.entry.fqdn_redirect &&
         a.entry.fqdn_allow == b.entry.fqdn_allow;
}

void check_flows(const EndpointPolicy& policy) {
  for (const EndpointPolicy::Row& row : policy.rows()) {
    // Each full row is the longest match of its own key: where it opens, the Program must not deny.
    if (row.key.prefix_length != WEIR_POLICY_PREFIX_FULL ||
        row.key.identity < WEIR_IDENTITY_FIRST_POD ||
        (row.key.direction & WEIR_WITHOUT_AUDITED) != 0) {
      continue;
    }
    Flow flow;
    flow.direction = static_cast<Direction>(row.key.direction);
    flow.peer = row.key.identity;
    flow.protocol = row.key.protocol;
    flow.port = ntohs(row.key.port_be);
    const FlowDecision decision = policy.decide(flow);
    WEIR_CHECK(decision.rule != nullptr);
    WEIR_CHECK(row.entry.verdict != WEIR_DENY || decision.verdict == Verdict::kDeny ||
               policy.audited());
    const HttpHeader header{"x-a", "b"};
    (void)judge_http(decision, {"GET", "/a", "h", {&header, 1}});
    (void)judge_dns(decision, *DnsName::from_text("a.example.com"));
    (void)judge_sni(decision, "a.example.com");
    (void)judge_sni(decision, std::nullopt);
  }
  (void)policy.fqdn_groups(*DnsName::from_text("a.example.com"));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const CompileInput kCluster = cluster();
  CompileInput input = kCluster;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const ParsedDocument& document : parse_policies("fuzz.yaml", text)) {
    const bool refused =
        std::any_of(document.diagnostics.begin(), document.diagnostics.end(), is_error);
    WEIR_CHECK(!refused || document.policy == nullptr);
    if (document.policy) {
      input.policies.push_back(document.policy);
    }
  }
  if (input.policies.empty()) {
    return 0;
  }
  SequentialPrefixes prefixes;
  SequentialBits bits;
  const CompileResult result = compile(input, prefixes, bits);
  WEIR_CHECK(result.program != nullptr);
  Compiler compiler;
  CompileInput half = kCluster;
  half.policies.assign(input.policies.begin(),
                       input.policies.begin() +
                           static_cast<std::ptrdiff_t>(input.policies.size() / 2));
  (void)compiler.compile(half, prefixes, bits);
  const CompileResult again = compiler.compile(input, prefixes, bits);
  WEIR_CHECK(again.diagnostics.size() == result.diagnostics.size());
  for (const EndpointInput& endpoint : input.endpoints) {
    const EndpointPolicy* policy = result.program->find(endpoint.id);
    WEIR_CHECK(policy != nullptr);
    check_flows(*policy);
    const auto rows = policy->rows(), others = again.program->find(endpoint.id)->rows();
    WEIR_CHECK(std::equal(rows.begin(), rows.end(), others.begin(), others.end(), same_row));
  }
  return 0;
}
