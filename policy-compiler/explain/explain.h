// Why is a flow allowed or denied? Asks the compiled Program, so that the answer is the one that is
// enforced, and adds what people need to understand it: the policies that select the endpoint, the
// rule that decides with its place in a file, and, where nothing allows, what came nearest.
//
// For tools: builds tables and texts at every call. Reads only, so any thread; the input and the
// program outlive it.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/sema/universe.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

// The flow, and what is said on it as far as it is known.
struct Question {
  EndpointId endpoint = 0;
  Flow flow;
  std::optional<HttpRequest> request; // canonical
  std::optional<DnsName> dns_name;
  std::optional<std::string> server_name;
  // FQDN groups of the name where the endpoint has learned the peer's address for it; empty: of
  // none.
  std::function<std::uint64_t(const DnsName&)> name_groups;
};

struct ExplainedRule {
  std::string name; // "shop/api ingress rule 2", "default-deny"
  std::string label;
  std::string section;
  int number = 0;
  Location location; // line 0: of no file
};

// A rule that allows something like it, and in words what it does not allow.
struct NearMiss {
  ExplainedRule rule;
  std::string text; // "method GET is allowed by shop/api ingress rule 2, path `/x` is not"
};

struct Explanation {
  bool enforced = false;
  Verdict verdict = Verdict::kDeny; // at L3/L4
  L7Protocol protocol = L7Protocol::kNone;
  ExplainedRule rule; // which decided, at L7 where that was asked
  // Only for a redirected flow about which something was asked.
  std::optional<bool> request_allowed;
  std::string reason; // of a denied request: "method", "path", …
  // The connection, and the request where the proxy judges one that was asked about.
  bool allowed = false;
  // Allowed only because policies are audited that refuse it: `rule`, `reason` and `nearest` are
  // the refusal's, `audited` are the labels of these policies.
  bool audit = false;
  std::vector<std::string> audited;
  std::vector<std::string> selected_by; // labels of policies that speak of this direction
  std::vector<NearMiss> nearest;        // best first, a few; only where it is refused
};

class Explainer {
public:
  // `program` was compiled from `input`.
  Explainer(const CompileInput& input, const Program& program);

  // Nothing when the Program has no such endpoint.
  [[nodiscard]] std::optional<Explanation> explain(const Question& question) const;

private:
  [[nodiscard]] static ExplainedRule describe(const RuleRef* ref);
  // Labels of the policies that speak of the flow's direction for its endpoint, or of those of them
  // that are only audited.
  [[nodiscard]] std::vector<std::string> selecting(const Question& question, bool audited) const;
  [[nodiscard]] std::vector<NearMiss> near_flows(const EndpointPolicy& policy,
                                                 const Flow& flow) const;
  [[nodiscard]] std::vector<NearMiss> near_requests(const FlowDecision& decision,
                                                    const Question& question,
                                                    std::string_view reason) const;

  const CompileInput& x_input;
  const Program& x_program;
  Universe x_universe;
};

} // namespace weir::policy
