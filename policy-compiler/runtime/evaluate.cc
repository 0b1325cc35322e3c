// Verdicts: at L3/L4 by walking an endpoint's filters, at L7 by asking the alternatives that the
// walk found. decide() runs once a connection, the judge functions once a request.
#include "policy-compiler/runtime/compiled.h"

#include "proxy/base/check.h"

namespace weir::policy {
namespace {

using Effect = Filter::Effect;

// Which proxy takes a flow that rules of several kinds concern.
int precedence(L7Protocol protocol) {
  switch (protocol) {
  case L7Protocol::kHttp:
    return 3;
  case L7Protocol::kTls:
    return 2;
  case L7Protocol::kDns:
    return 1;
  case L7Protocol::kNone:
    return 0;
  }
  return 0;
}

struct Matches {
  const Filter* deny = nullptr;
  const Filter* plain = nullptr;
  bool exact_plain = false;
  bool lets_all_pass = false;
  std::vector<const Filter*> l7; // kAllowL7 and kDenyL7
};

L7Decision allowed_by(const RuleRef* rule) { return {.allowed = true, .rule = rule, .reason = {}}; }
L7Decision refused(const FlowDecision& flow, const RuleRef* rule, std::string_view reason) {
  return {.allowed = false, .rule = rule != nullptr ? rule : flow.rule, .reason = reason};
}

// What all policies say, softened by what those say that are enforced.
template <typename Judge>
L7Decision judge_with_audit(const FlowDecision& flow, Judge&& judge_by) {
  L7Decision decision = judge_by(flow);
  if (decision.allowed) {
    if (flow.audited != nullptr) {
      decision.audit = true;
      decision.rule = flow.audited;
      decision.reason = "policy";
    }
    return decision;
  }
  if (flow.unaudited == nullptr) {
    return decision;
  }
  const L7Decision enforced = judge_by(*flow.unaudited);
  if (!enforced.allowed) {
    return enforced;
  }
  decision.allowed = decision.audit = true;
  return decision;
}

// The judge functions differ in how one L7Rules accepts and in what a miss is called.
template <typename Accepts, typename Miss>
L7Decision judge(const FlowDecision& flow, L7Protocol protocol, std::uint64_t name_groups,
                 Accepts&& accepts, Miss&& miss) {
  if (flow.verdict != Verdict::kRedirect || flow.protocol != protocol) {
    return flow.verdict == Verdict::kAllow ? allowed_by(flow.rule)
                                           : refused(flow, nullptr, "protocol");
  }
  for (const L7Rules* denial : flow.denials) {
    if (accepts(*denial)) {
      return refused(flow, denial->rule, "denied");
    }
  }
  if (flow.any) {
    return allowed_by(flow.rule);
  }
  const L7Rules* misnamed = nullptr;
  for (const L7Rules* alternative : flow.alternatives) {
    if (accepts(*alternative)) {
      if (alternative->holds_name(name_groups)) {
        return allowed_by(alternative->rule);
      }
      misnamed = alternative;
    }
  }
  return misnamed != nullptr ? refused(flow, misnamed->rule, kNotItsName) : miss();
}

} // namespace

const RuleRef& built_in_rule(std::uint32_t number) {
  static const std::array<RuleRef, kBuiltInRules> kRules = [] {
    std::array<RuleRef, kBuiltInRules> rules;
    const char* const labels[] = {"default-deny", "allow-localhost", "default-allow"};
    for (std::uint32_t i = 0; i < kBuiltInRules; ++i) {
      rules[i].label = labels[i];
      rules[i].number = i;
    }
    return rules;
  }();
  return kRules.at(number);
}

const RuleRef& default_deny() { return built_in_rule(kRuleDefaultDeny); }

IdentitySet& IdentitySet::operator|=(const IdentitySet& other) {
  for (std::size_t i = 0; i < x_words.size(); ++i) {
    x_words[i] |= other.x_words[i];
  }
  return *this;
}

IdentitySet& IdentitySet::operator&=(const IdentitySet& other) {
  for (std::size_t i = 0; i < x_words.size(); ++i) {
    x_words[i] &= other.x_words[i];
  }
  return *this;
}

IdentitySet& IdentitySet::subtract(const IdentitySet& other) {
  for (std::size_t i = 0; i < x_words.size(); ++i) {
    x_words[i] &= ~other.x_words[i];
  }
  return *this;
}

bool NameMatcherList::matches(const DnsName& name) const {
  return x_every_name || x_literals.contains(name) ||
         std::any_of(x_patterns.begin(), x_patterns.end(),
                     [&](const NameMatcher& one) { return one.matches(name); });
}

bool L7Rules::names_server(std::optional<std::string_view> name) const {
  return name && std::any_of(server_names.begin(), server_names.end(), [&](const NameMatcher& one) {
           return one.matches_server_name(*name);
         });
}

bool Filter::covers_peer(const Flow& flow, const IdentityTable& table) const {
  if (anybody || (fqdn_mask & flow.fqdn_groups) != 0) {
    return true;
  }
  if (identities == nullptr) {
    return false;
  }
  const auto known = table.find(flow.peer);
  return known != table.end() && identities->test(known->second);
}

FlowDecision LoweredEndpoint::decide(const Flow& flow, const IdentityTable& identities) const {
  FlowDecision all = decide_by_all(flow, identities);
  if (unaudited == nullptr || all.verdict == Verdict::kAllow) {
    return all;
  }
  FlowDecision enforced = unaudited->decide(flow, identities);
  if (all.verdict == Verdict::kRedirect) {
    if (enforced.verdict != Verdict::kDeny) {
      all.unaudited = std::make_shared<const FlowDecision>(std::move(enforced));
    }
    return all;
  }
  if (enforced.verdict != Verdict::kDeny) {
    enforced.audited = all.rule;
  }
  return enforced;
}

FlowDecision LoweredEndpoint::decide_by_all(const Flow& flow,
                                            const IdentityTable& identities) const {
  const auto direction = static_cast<std::size_t>(flow.direction);
  FlowDecision out;
  out.rule = &default_deny();
  if (!is_enforced[direction]) {
    out.verdict = Verdict::kAllow;
    return out;
  }
  Matches matches;
  for (const Filter& filter : filters[direction]) {
    if (!filter.covers_port(flow) || !filter.covers_peer(flow, identities)) {
      continue;
    }
    switch (filter.effect) {
    case Effect::kDeny:
      if (matches.deny == nullptr) {
        matches.deny = &filter;
      }
      break;
    case Effect::kAllow:
      if (matches.plain == nullptr) {
        matches.plain = &filter;
      }
      matches.exact_plain = matches.exact_plain || filter.exact_port;
      break;
    case Effect::kAllowL7:
    case Effect::kDenyL7:
      matches.lets_all_pass =
          matches.lets_all_pass || (filter.lets_all_pass && filter.effect == Effect::kAllowL7);
      matches.l7.push_back(&filter);
      break;
    }
  }

  if (matches.deny != nullptr) {
    out.rule = matches.deny->rule;
    return out;
  }
  if (matches.l7.empty()) {
    if (matches.plain != nullptr) {
      out.verdict = Verdict::kAllow;
      out.rule = matches.plain->rule;
    }
    return out;
  }

  const Filter* deciding = nullptr;
  for (const Filter* filter : matches.l7) {
    if (deciding == nullptr ||
        precedence(filter->l7->protocol) > precedence(deciding->l7->protocol)) {
      deciding = filter;
    }
  }
  out.verdict = Verdict::kRedirect;
  out.protocol = deciding->l7->protocol;
  out.rule = deciding->rule;
  // The DNS proxy knows nothing but the rules of its own port.
  out.any = matches.lets_all_pass ||
            (out.protocol == L7Protocol::kDns ? matches.exact_plain : matches.plain != nullptr);
  bool unjudged_denial = false, looks_inside_tls = false;
  for (const Filter* filter : matches.l7) {
    if (filter->effect == Effect::kAllowL7) {
      if (filter->l7->protocol == out.protocol) {
        out.alternatives.push_back(filter->l7.get());
        looks_inside_tls = looks_inside_tls || filter->l7->terminating;
      } else if (filter->l7->protocol == L7Protocol::kTls) {
        out.unread.push_back(filter->l7.get());
      }
    } else if (filter->l7->protocol == out.protocol) {
      out.denials.push_back(filter->l7.get());
    } else {
      unjudged_denial = true;
      out.rule = filter->rule;
    }
  }
  if (unjudged_denial) { // a denial that this proxy cannot judge refuses everything
    out.any = false;
    out.alternatives.clear();
  }
  // Where nothing reads the hello no name is known, and what is not read no denial can judge.
  if (!looks_inside_tls || unjudged_denial || !out.denials.empty()) {
    out.unread.clear();
  }
  return out;
}

std::uint64_t CompiledEndpoint::fqdn_groups(const DnsName& name) const {
  std::uint64_t groups = 0;
  const auto& names = x_lowered->fqdn_names;
  if (const auto found = names.find(name); found != names.end()) {
    groups = found->second;
  }
  for (const LoweredEndpoint::FqdnPattern& pattern : x_lowered->fqdn_patterns) {
    if ((pattern.mask & ~groups) != 0 && pattern.matcher.matches(name)) {
      groups |= pattern.mask;
    }
  }
  return groups;
}

namespace {

L7Decision judge_http_by(const FlowDecision& flow, const HttpRequest& request,
                         std::uint64_t name_groups) {
  const HttpMatcher* accepting = nullptr;
  L7Decision decision = judge(
      flow, L7Protocol::kHttp, name_groups,
      [&](const L7Rules& rules) {
        const auto found = rules.http->find(request);
        accepting = found ? &rules.http->at(*found) : nullptr;
        return found.has_value();
      },
      [&] {
        HttpMatcher::Fit best;
        const RuleRef* rule = nullptr;
        for (const L7Rules* alternative : flow.alternatives) {
          const HttpMatcher::Fit fit = alternative->http->nearest(request);
          if (rule == nullptr || fit.matched > best.matched) {
            best = fit;
            rule = alternative->rule;
          }
        }
        return refused(flow, rule, rule != nullptr ? best.failed : "denied");
      });
  if (decision.allowed && accepting != nullptr && !accepting->actions.list.empty()) {
    decision.actions[0] = &accepting->actions;
  }
  return decision;
}

L7Decision judge_dns_by(const FlowDecision& flow, const DnsName& name) {
  return judge(
      flow, L7Protocol::kDns, 0, [&](const L7Rules& rules) { return rules.dns.matches(name); },
      [&] {
        return refused(flow, flow.alternatives.empty() ? nullptr : flow.alternatives.front()->rule,
                       flow.alternatives.empty() ? "denied" : "name");
      });
}

L7Decision judge_sni_by(const FlowDecision& flow, std::optional<std::string_view> name,
                        std::uint64_t name_groups) {
  return judge(
      flow, L7Protocol::kTls, name_groups,
      [&](const L7Rules& rules) { return rules.names_server(name); },
      [&] {
        return refused(flow, flow.alternatives.empty() ? nullptr : flow.alternatives.front()->rule,
                       flow.alternatives.empty() ? "denied" : "sni");
      });
}

} // namespace

bool passes_unread(const FlowDecision& flow, std::optional<std::string_view> name,
                   std::uint64_t name_groups) {
  const auto names = [&](const L7Rules* rules) {
    return rules->holds_name(name_groups) && rules->names_server(name);
  };
  return std::any_of(flow.unread.begin(), flow.unread.end(), names) &&
         std::none_of(flow.alternatives.begin(), flow.alternatives.end(),
                      [&](const L7Rules* rules) { return rules->terminating && names(rules); });
}

FlowDecision unread_tls(const FlowDecision& flow) {
  FlowDecision out = flow;
  out.protocol = L7Protocol::kTls;
  out.any = false;
  out.alternatives = std::move(out.unread);
  out.unread.clear();
  if (flow.unaudited != nullptr && flow.unaudited->protocol == L7Protocol::kHttp) {
    out.unaudited = std::make_shared<const FlowDecision>(unread_tls(*flow.unaudited));
  }
  return out;
}

bool binds_names(const FlowDecision& flow) {
  const auto binds = [](const L7Rules* rules) { return rules->bound_to != 0; };
  return std::any_of(flow.alternatives.begin(), flow.alternatives.end(), binds) ||
         std::any_of(flow.unread.begin(), flow.unread.end(), binds);
}

L7Decision judge_http(const FlowDecision& flow, const HttpRequest& request,
                      std::uint64_t name_groups) {
  return judge_with_audit(
      flow, [&](const FlowDecision& by) { return judge_http_by(by, request, name_groups); });
}

L7Decision judge_dns(const FlowDecision& flow, const DnsName& name) {
  return judge_with_audit(flow, [&](const FlowDecision& by) { return judge_dns_by(by, name); });
}

L7Decision judge_sni(const FlowDecision& flow, std::optional<std::string_view> name,
                     std::uint64_t name_groups) {
  return judge_with_audit(
      flow, [&](const FlowDecision& by) { return judge_sni_by(by, name, name_groups); });
}

} // namespace weir::policy
