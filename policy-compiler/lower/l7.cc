#include "policy-compiler/lower/l7.h"

#include <cctype>
#include <string_view>

namespace weir::policy {
namespace {

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// "%c3" and "%C3" are one byte to every server (RFC 3986 §6.2.2.1), so a path that is denied is
// denied in both spellings. What is allowed stays as it is written, as in the reference. Left alone
// are escapes in a class of characters or between \Q and \E, and those whose last digit is
// repeated.
std::string escapes_without_case(const std::string& regex) {
  if (regex.find("\\Q") != std::string::npos) {
    return regex;
  }
  std::string out;
  bool in_class = false;
  for (std::size_t at = 0; at < regex.size(); ++at) {
    const std::size_t percent = regex.compare(at, 2, "\\%") == 0 ? at + 1 : at;
    const bool is_escape = !in_class && regex.size() - percent > 2 && regex[percent] == '%' &&
                           is_hex(regex[percent + 1]) && is_hex(regex[percent + 2]);
    const std::size_t after = percent + 3;
    if (is_escape && (after == regex.size() ||
                      std::string_view("*+?{").find(regex[after]) == std::string_view::npos)) {
      out.append("(?i:").append(regex, percent, 3).push_back(')');
      at = after - 1;
      continue;
    }
    if (regex[at] == '\\' && at + 1 < regex.size()) {
      out.push_back(regex[at++]);
    } else if (regex[at] == '[') {
      in_class = true;
    } else if (regex[at] == ']') {
      in_class = false;
    }
    out.push_back(regex[at]);
  }
  return out;
}

FieldMatcher lower_field(const std::string& regex, Action action) {
  FieldMatcher out = FieldMatcher::compile(regex);
  if (out.kind() == FieldMatcher::Kind::kNever && action == Action::kDeny) {
    return {};
  }
  return out;
}

using Secrets = std::map<std::string, std::string>;

// A secret without a namespace is one of the policy's own.
SecretRef located(SecretRef secret, const RuleRef& rule) {
  if (secret.secret_namespace.empty()) {
    secret.secret_namespace = rule.policy_namespace;
  }
  return secret;
}

std::optional<TlsContext> located(std::optional<TlsContext> context, const RuleRef& rule) {
  if (context) {
    context->secret = located(std::move(context->secret), rule);
  }
  return context;
}

HeaderMatcher lower_secret_header(const HeaderRule& header, const RuleRef& rule,
                                  const Secrets& secrets) {
  const auto found = secrets.find(located(*header.secret, rule).full_name());
  if (found == secrets.end()) {
    return {header.name, std::nullopt, true, true};
  }
  return {header.name, found->second, false, true};
}

HeaderAction::Kind action_of(HeaderRule::Mismatch mismatch) {
  switch (mismatch) {
  case HeaderRule::Mismatch::kAdd:
    return HeaderAction::Kind::kAdd;
  case HeaderRule::Mismatch::kDelete:
    return HeaderAction::Kind::kDelete;
  case HeaderRule::Mismatch::kReplace:
    return HeaderAction::Kind::kReplace;
  case HeaderRule::Mismatch::kReject:
  case HeaderRule::Mismatch::kLog:
    break;
  }
  return HeaderAction::Kind::kLog;
}

HttpMatcher lower_http(const HttpRule& rule, Action action, const RuleRef& ref,
                       const Secrets& secrets) {
  HttpMatcher out;
  out.method = lower_field(rule.method, action);
  const bool denies = action == Action::kDeny && rule.path.find('%') != std::string::npos;
  out.path = lower_field(denies ? escapes_without_case(rule.path) : rule.path, action);
  out.host = lower_field(rule.host, action);
  for (const HeaderRule& header : rule.headers) {
    HeaderMatcher wanted = header.secret ? lower_secret_header(header, ref, secrets)
                                         : HeaderMatcher{header.name, header.value, false, false};
    if (wanted.never) { // whatever was to be done at a mismatch, it cannot be
      if (action != Action::kDeny) {
        out.headers.push_back(std::move(wanted));
      }
    } else if (header.mismatch == HeaderRule::Mismatch::kReject) {
      out.headers.push_back(std::move(wanted));
    } else { // decides nothing
      out.actions.list.push_back({action_of(header.mismatch), std::move(wanted)});
    }
  }
  return out;
}

void add_server_names(const PortRule& ports, L7Rules& out) {
  for (const std::string& name : ports.server_names) {
    out.server_names.push_back(NameMatcher::pattern(name));
  }
}

} // namespace

std::shared_ptr<L7Rules> lower_l7(const PortRule& ports, Action action, const RuleRef* rule,
                                  const Secrets& secrets) {
  auto out = std::make_shared<L7Rules>();
  out->rule = rule;
  switch (ports.l7) {
  case L7Kind::kHttp: {
    out->protocol = L7Protocol::kHttp;
    std::vector<HttpMatcher> matchers;
    matchers.reserve(ports.http.size());
    for (const HttpRule& http : ports.http) {
      matchers.push_back(lower_http(http, action, *rule, secrets));
    }
    out->http = std::make_unique<HttpMatcherList>(std::move(matchers));
    out->terminating = located(ports.terminating, *rule);
    out->originating = located(ports.originating, *rule);
    add_server_names(ports, *out);
    break;
  }
  case L7Kind::kDns:
    out->protocol = L7Protocol::kDns;
    for (const NamePattern& name : ports.dns) {
      if (name.match_name.empty() && name.match_pattern.empty()) {
        out->dns.add_every_name();
      }
      if (!name.match_name.empty()) {
        out->dns.add(NameMatcher::literal(name.match_name));
      }
      if (!name.match_pattern.empty()) {
        out->dns.add(NameMatcher::pattern(name.match_pattern));
      }
    }
    break;
  case L7Kind::kTls:
    out->protocol = L7Protocol::kTls;
    add_server_names(ports, *out);
    break;
  case L7Kind::kNone:
    break;
  }
  return out;
}

} // namespace weir::policy
