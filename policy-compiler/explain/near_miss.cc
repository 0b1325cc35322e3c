#include "policy-compiler/explain/near_miss.h"

#include "policy-compiler/model/protocol.h"
#include "policy-compiler/runtime/http_matcher.h"

#include <netinet/in.h>

#include <vector>

namespace weir::policy {
namespace {

std::string quoted(std::string_view text) { return "`" + std::string(text) + "`"; }

struct Field {
  bool matches = false;
  std::string has;   // "method GET"
  std::string wants; // "`POST`"
};

Field field(const std::string& name, std::string_view value, const std::string& regex) {
  return {FieldMatcher::compile(regex).matches(value), name + " " + quoted(value), quoted(regex)};
}

Field headers(const HttpRule& rule, const HttpRequest& request) {
  Field out{true, "headers", {}};
  for (const HeaderRule& header : rule.headers) {
    if (header.mismatch != HeaderRule::Mismatch::kReject) {
      continue;
    }
    if (header.secret) {
      return {false, "header " + quoted(header.name), "a secret that is not read here"};
    }
    if (!HeaderMatcher{header.name, header.value, false, false}.matches(request.headers)) {
      return {false, "header " + quoted(header.name),
              header.value ? quoted(*header.value) : "its presence"};
    }
  }
  return out;
}

} // namespace

std::string ports_text(std::uint8_t protocol, std::uint16_t first, std::uint16_t last) {
  if (protocol == 0) {
    return "any port";
  }
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
    return "type " + std::to_string(first) + "/" + protocol_text(protocol);
  }
  if (first == 0 && last == 0xffff) {
    return "any port/" + protocol_text(protocol);
  }
  return std::to_string(first) + (first == last ? "" : "-" + std::to_string(last)) + "/" +
         protocol_text(protocol);
}

HttpMiss http_miss(const HttpRule& rule, const HttpRequest& request) {
  const std::vector<Field> fields = {
      field("method", request.method, rule.method), field("path", request.path, rule.path),
      field("host", request.host, rule.host), headers(rule, request)};
  // What the rule leaves open is no news.
  const bool asked[] = {!rule.method.empty(), !rule.path.empty(), !rule.host.empty(), false};
  HttpMiss out;
  std::vector<std::string> told;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].matches) {
      ++out.matched;
      if (asked[i]) {
        told.push_back(fields[i].has);
      }
    } else if (out.failed.empty()) {
      out.failed = fields[i].has + " is not (it asks for " + fields[i].wants + ")";
    }
  }
  for (std::size_t i = 0; i < told.size(); ++i) {
    out.allowed += (i == 0 ? "" : i + 1 == told.size() ? " and " : ", ") + told[i];
  }
  if (!told.empty()) {
    out.allowed += told.size() > 1 ? " are" : " is";
  }
  return out;
}

} // namespace weir::policy
