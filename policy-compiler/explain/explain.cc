#include "policy-compiler/explain/explain.h"

#include "policy-compiler/explain/ports_text.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/runtime/name_match.h"
#include "policy-compiler/runtime/near_request.h"
#include "policy-compiler/sema/resolve.h"

#include <algorithm>
#include <map>

namespace weir::policy {
namespace {

constexpr std::size_t kFewMisses = 3;

struct Ranked {
  unsigned nearness = 0;
  NearMiss miss;
};

// The nearest first; of one rule the nearest only.
std::vector<NearMiss> best(std::vector<Ranked> misses) {
  std::stable_sort(misses.begin(), misses.end(),
                   [](const Ranked& a, const Ranked& b) { return a.nearness > b.nearness; });
  std::vector<NearMiss> out;
  for (Ranked& one : misses) {
    const bool told = std::any_of(out.begin(), out.end(), [&](const NearMiss& before) {
      return before.rule.name == one.miss.rule.name;
    });
    if (!told && out.size() < kFewMisses) {
      out.push_back(std::move(one.miss));
    }
  }
  return out;
}

bool speaks_of_port(const PortRule& ports, const Flow& flow) {
  return std::any_of(ports.ports.begin(), ports.ports.end(), [&](const PortMatch& match) {
    return (match.protocol == 0 || match.protocol == flow.protocol) &&
           (!match.name.empty() || (flow.port >= match.first && flow.port <= match.last));
  });
}

std::uint64_t name_groups(const Question& question, std::optional<std::string_view> text) {
  const auto name = text ? host_name(*text) : std::nullopt;
  return name && question.name_groups ? question.name_groups(*name) : 0;
}

// Judges what was asked about, where the flow is one that the proxy judges so.
std::optional<L7Decision> judge(const FlowDecision& decision, const Question& question) {
  switch (decision.protocol) {
  case L7Protocol::kHttp:
    if (const std::uint64_t groups = name_groups(question, question.server_name);
        question.server_name && passes_unread(decision, question.server_name, groups)) {
      return judge_sni(unread_tls(decision), question.server_name, groups);
    }
    if (question.request) {
      return judge_http(decision, *question.request, name_groups(question, question.request->host));
    }
    break;
  case L7Protocol::kDns:
    if (question.dns_name) {
      return judge_dns(decision, *question.dns_name);
    }
    break;
  case L7Protocol::kTls:
    // A request that is asked about has to come through a ClientHello, named or not.
    if (question.server_name || question.request) {
      return judge_sni(decision, question.server_name, name_groups(question, question.server_name));
    }
    break;
  case L7Protocol::kNone:
    break;
  }
  if (question.request || question.dns_name || question.server_name) {
    return L7Decision{false, decision.rule, "protocol"};
  }
  return std::nullopt;
}

// The numbers that the program's cells have already.
class KnownPrefixes : public PrefixIdentities {
public:
  explicit KnownPrefixes(const Program& program) {
    for (const Program::Prefix& one : program.prefixes()) {
      x_numbers.emplace(one.prefix, one.identity);
    }
  }
  IdentityId identity_of(const IpPrefix& prefix) override {
    const auto found = x_numbers.find(prefix);
    return found == x_numbers.end() ? 0 : found->second; // 0: nobody's
  }

private:
  std::map<IpPrefix, IdentityId> x_numbers;
};

Universe universe_of(const CompileInput& input, const Program& program) {
  KnownPrefixes numbers(program);
  return Universe(input, named_prefixes(input), numbers);
}

std::string names_text(const PortRule& ports) {
  std::string out;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) {
      out += (out.empty() ? "`" : ", `") + text + "`";
    }
  };
  for (const NamePattern& name : ports.dns) {
    add(name.match_name);
    add(name.match_pattern);
  }
  for (const std::string& name : ports.server_names) {
    add(name);
  }
  return out;
}

} // namespace

Explainer::Explainer(const CompileInput& input, const Program& program)
    : x_input(input), x_program(program), x_universe(universe_of(input, program)) {}

ExplainedRule Explainer::describe(const RuleRef* ref) {
  ExplainedRule out;
  out.label = ref->label;
  out.section = ref->section;
  out.number = ref->rule_number;
  out.name = rule_text(*ref);
  if (ref->source != nullptr) {
    out.location = ref->source->location;
  }
  return out;
}

std::vector<std::string> Explainer::selecting(const Question& question, bool audited) const {
  std::vector<std::string> out;
  const auto endpoint =
      std::find_if(x_input.endpoints.begin(), x_input.endpoints.end(),
                   [&](const EndpointInput& one) { return one.id == question.endpoint; });
  const auto table = x_universe.table();
  const auto place =
      endpoint == x_input.endpoints.end() ? table->end() : table->find(endpoint->identity);
  if (place == table->end()) {
    return out;
  }
  for (const auto& policy : x_input.policies) {
    if (audited && !policy->audit) {
      continue;
    }
    const bool selects =
        std::any_of(policy->specs.begin(), policy->specs.end(), [&](const Spec& spec) {
          return !spec.host_policy && spec.has[static_cast<std::size_t>(question.flow.direction)] &&
                 x_universe.select(spec.subject).test(place->second);
        });
    if (selects) {
      out.push_back(policy->policy_namespace + "/" + policy->name);
    }
  }
  return out;
}

std::vector<NearMiss> Explainer::near_flows(const EndpointPolicy& policy, const Flow& flow) const {
  std::vector<Ranked> misses;
  const auto* compiled = dynamic_cast<const CompiledEndpoint*>(&policy);
  if (compiled == nullptr) {
    return {};
  }
  const bool ingress = flow.direction == Direction::kIngress;
  for (const Filter& filter :
       compiled->lowered().filters[static_cast<std::size_t>(flow.direction)]) {
    if (filter.effect == Filter::Effect::kDeny || filter.effect == Filter::Effect::kDenyL7 ||
        filter.rule == &built_in_rule(kRuleLocalhost)) {
      continue;
    }
    const bool peer = filter.covers_peer(flow, compiled->identities());
    const bool port = filter.covers_port(flow);
    if (peer == port) { // both: a deny rule decided; neither: nothing alike
      continue;
    }
    ExplainedRule rule = describe(filter.rule);
    const std::string asked = ports_text(flow.protocol, flow.port, flow.port);
    std::string text =
        peer ? std::string(ingress ? "this client" : "this destination") + " is allowed by " +
                   rule.name + ", " + asked + " is not (it opens " +
                   ports_text(filter.protocol, filter.first, filter.last) + ")"
             : asked + " is allowed by " + rule.name + ", this " +
                   (ingress ? "client" : "destination") + " is not" +
                   (filter.fqdn_mask != 0 ? " (only addresses learned from DNS)" : "");
    misses.push_back({peer ? 2u : 1u, {std::move(rule), std::move(text)}});
  }
  return best(std::move(misses));
}

std::vector<NearMiss> Explainer::near_requests(const FlowDecision& decision,
                                               const Question& question,
                                               std::string_view reason) const {
  std::vector<Ranked> misses;
  std::vector<const RuleRef*> seen;
  for (const L7Rules* alternative : decision.alternatives) {
    const RuleRef* ref = alternative->rule;
    const Rule* rule = ref->source;
    if (rule == nullptr ||
        (alternative->http == nullptr && std::find(seen.begin(), seen.end(), ref) != seen.end())) {
      continue;
    }
    seen.push_back(ref);
    const ExplainedRule described = describe(ref);
    if (alternative->bound_to != 0 && reason == kNotItsName) {
      std::optional<std::string_view> name = question.server_name;
      if (alternative->http != nullptr && question.request) {
        name = question.request->host;
      }
      misses.push_back({2, {described, near_name(*ref, name)}});
      continue;
    }
    if (alternative->http != nullptr && question.request) {
      const HttpMatcher::Fit fit = alternative->http->nearest(*question.request);
      if (fit.rule != nullptr) {
        misses.push_back({fit.matched, {described, near_request(*ref, fit, *question.request)}});
      }
      continue;
    }
    for (const PortRule& ports : rule->ports) {
      if (!speaks_of_port(ports, question.flow)) {
        continue;
      }
      if (ports.l7 == L7Kind::kDns && question.dns_name) {
        misses.push_back(
            {1,
             {described, "name `" + question.dns_name->to_text() + "` is not allowed by " +
                             described.name + " (it asks for " + names_text(ports) + ")"}});
      } else if (ports.l7 == L7Kind::kTls) {
        misses.push_back({1,
                          {described, (question.server_name
                                           ? "server name `" + *question.server_name + "`"
                                           : std::string("a client that sends no server name")) +
                                          " is not allowed by " + described.name +
                                          " (it asks for " + names_text(ports) + ")"}});
      }
    }
  }
  return best(std::move(misses));
}

std::optional<Explanation> Explainer::explain(const Question& question) const {
  const EndpointPolicy* policy = x_program.find(question.endpoint);
  if (policy == nullptr) {
    return std::nullopt;
  }
  const FlowDecision decision = policy->decide(question.flow);
  Explanation out;
  out.enforced = policy->enforced(question.flow.direction);
  out.verdict = decision.verdict;
  out.protocol = decision.protocol;
  out.rule = describe(decision.rule);
  out.allowed = decision.verdict != Verdict::kDeny;
  out.selected_by = selecting(question, false);
  const RuleRef* audited = decision.audited;
  if (!out.enforced) {
    out.rule.name = out.rule.label = "not-enforced";
  } else if (decision.verdict == Verdict::kRedirect) {
    if (const auto judged = judge(decision, question)) {
      out.request_allowed = judged->allowed;
      out.allowed = judged->allowed;
      out.reason = judged->reason;
      out.rule = describe(judged->rule);
      audited = judged->audit ? judged->rule : audited;
      if ((!judged->allowed || judged->audit) && out.reason != "denied") {
        out.nearest = near_requests(decision, question, out.reason);
      }
    }
  } else if (decision.verdict == Verdict::kDeny && decision.rule == &default_deny()) {
    out.nearest = near_flows(*policy, question.flow);
  }
  if (audited != nullptr) {
    out.audit = true;
    out.rule = describe(audited);
    out.audited = selecting(question, true);
    if (audited == &default_deny()) {
      out.nearest = near_flows(*policy, question.flow);
    }
  }
  return out;
}

} // namespace weir::policy
