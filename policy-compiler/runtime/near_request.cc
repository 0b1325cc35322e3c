#include "policy-compiler/runtime/near_request.h"

#include "policy-compiler/runtime/l7_rules.h"

namespace weir::policy {
namespace {

constexpr std::size_t kMaxQuoted = 120;

void append_quoted(std::string_view text, std::string& out) {
  out.push_back('`');
  out.append(text.substr(0, kMaxQuoted));
  out.append(text.size() > kMaxQuoted ? "…`" : "`");
}

struct Field {
  std::string_view name, value;
  const FieldMatcher& matcher;
};

// "header `X` is not", of the first that does not match.
void append_header(const HttpMatcher& rule, const HttpRequest& request, std::string& out) {
  for (const HeaderMatcher& header : rule.headers) {
    if (!header.matches(request.headers)) {
      out.append("header ");
      append_quoted(header.name, out);
      out.append(header.value ? " is not what it asks for" : " is missing");
      return;
    }
  }
}

} // namespace

std::string rule_text(const RuleRef& rule) {
  return rule.section.empty()
             ? rule.label
             : rule.label + " " + rule.section + " rule " + std::to_string(rule.rule_number);
}

std::string near_name(const RuleRef& rule, std::optional<std::string_view> name) {
  std::string out;
  if (name) {
    append_quoted(*name, out);
    out.append(" is none of the names that ");
  } else {
    out.append("without a name it is none of those that ");
  }
  return out + rule_text(rule) + " opens this address for";
}

std::string near_request(const FlowDecision& flow, const HttpRequest& request) {
  HttpMatcher::Fit best;
  const RuleRef* rule = nullptr;
  for (const L7Rules* alternative : flow.alternatives) {
    if (alternative->http == nullptr) {
      continue;
    }
    // As it was refused, the name was all that was wrong.
    if (alternative->bound_to != 0 && alternative->http->find(request)) {
      return near_name(*alternative->rule, request.host);
    }
    const HttpMatcher::Fit fit = alternative->http->nearest(request);
    if (fit.rule != nullptr && (rule == nullptr || fit.matched > best.matched)) {
      best = fit;
      rule = alternative->rule;
    }
  }
  return rule == nullptr ? "" : near_request(*rule, best, request);
}

std::string near_request(const RuleRef& rule, const HttpMatcher::Fit& fit,
                         const HttpRequest& request) {
  std::string out;
  const Field fields[] = {{"method", request.method, fit.rule->method},
                          {"path", request.path, fit.rule->path},
                          {"host", request.host, fit.rule->host}};
  unsigned allowed = 0;
  for (const Field& field : fields) {
    // What the rule leaves open is no news.
    if (field.matcher.kind() != FieldMatcher::Kind::kAny && field.matcher.matches(field.value)) {
      out.append(allowed++ == 0 ? "" : " and ").append(field.name).append(" ");
      append_quoted(field.value, out);
    }
  }
  const std::string name = rule_text(rule);
  out.append(allowed == 0  ? "in " + name + " "
             : allowed > 1 ? " are allowed by " + name + ", "
                           : " is allowed by " + name + ", ");
  for (const Field& field : fields) {
    if (!field.matcher.matches(field.value)) {
      out.append(field.name).append(" ");
      append_quoted(field.value, out);
      out.append(" is not (it asks for ");
      append_quoted(field.matcher.text(), out);
      out.append(")");
      return out;
    }
  }
  append_header(*fit.rule, request, out);
  return out;
}

} // namespace weir::policy
