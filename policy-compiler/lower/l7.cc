#include "policy-compiler/lower/l7.h"

namespace weir::policy {
namespace {

FieldMatcher lower_field(const std::string& regex, Action action) {
  FieldMatcher out = FieldMatcher::compile(regex);
  if (out.kind() == FieldMatcher::Kind::kNever && action == Action::kDeny) {
    return {};
  }
  return out;
}

HttpMatcher lower_http(const HttpRule& rule, Action action) {
  HttpMatcher out;
  out.method = lower_field(rule.method, action);
  out.path = lower_field(rule.path, action);
  out.host = lower_field(rule.host, action);
  for (const HeaderRule& header : rule.headers) {
    if (header.mismatch != HeaderRule::Mismatch::kReject) {
      continue; // acts on the request, decides nothing
    }
    if (header.secret && action == Action::kDeny) {
      continue;
    }
    out.headers.push_back({header.name, header.value, header.secret});
  }
  return out;
}

} // namespace

std::unique_ptr<const L7Rules> lower_l7(const PortRule& ports, Action action, const RuleRef* rule) {
  auto out = std::make_unique<L7Rules>();
  out->rule = rule;
  switch (ports.l7) {
  case L7Kind::kHttp: {
    out->protocol = L7Protocol::kHttp;
    std::vector<HttpMatcher> matchers;
    matchers.reserve(ports.http.size());
    for (const HttpRule& http : ports.http) {
      matchers.push_back(lower_http(http, action));
    }
    out->http = std::make_unique<HttpMatcherList>(std::move(matchers));
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
    for (const std::string& name : ports.server_names) {
      out->server_names.push_back(NameMatcher::pattern(name));
    }
    break;
  case L7Kind::kNone:
    break;
  }
  return out;
}

} // namespace weir::policy
