#include "proxy/http2/message.h"

#include "proxy/http/ascii.h"
#include "proxy/http/denial.h"
#include "proxy/http/field_names.h"
#include "proxy/http/normalize.h"

#include <utility>

namespace weir::http2 {
namespace {

using http::Refusal;

bool connection_specific(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
         name == "transfer-encoding" || name == "upgrade";
}

bool well_formed_name(std::string_view name) {
  if (name.empty() || !http::all(http::kTokenByte, name)) {
    return false;
  }
  for (const char byte : name) {
    if (byte >= 'A' && byte <= 'Z') {
      return false;
    }
  }
  return true;
}

bool well_formed_value(std::string_view value) {
  return http::all(http::kValueByte, value) && http::trim(value).size() == value.size();
}

bool well_formed_length(std::string_view value) {
  return !value.empty() && value.size() <= 18 && http::all(http::kDigitByte, value);
}

Refusal take_pseudo(const Field& field, RequestHead& head, std::string_view& authority,
                    std::string_view& path) {
  std::string_view* into = nullptr;
  if (field.name == ":method") {
    into = &head.method;
  } else if (field.name == ":scheme") {
    into = &head.scheme;
  } else if (field.name == ":authority") {
    into = &authority;
  } else if (field.name == ":path") {
    into = &path;
  }
  if (into == nullptr) {
    return {400, "unknown-pseudo-field"};
  }
  if (into->data() != nullptr) {
    return {400, "repeated-pseudo-field"};
  }
  *into = field.value;
  return {};
}

struct Seen {
  std::string_view host;
  bool unknown_expectation = false;
};

Refusal take_regular(const Field& field, const Limits& limits, RequestHead& head, Seen& seen) {
  if (!well_formed_name(field.name)) {
    return {400, "malformed-field-name"};
  }
  if (!well_formed_value(field.value)) {
    return {400, "malformed-field-value"};
  }
  if (connection_specific(field.name)) {
    return {400, "connection-specific-field"};
  }
  if (field.name == "host") {
    if (seen.host.data() != nullptr) {
      return {400, "several-hosts"};
    }
    seen.host = field.value;
  } else if (field.name == "content-length") {
    if (head.content_length.data() != nullptr) {
      return {400, "several-content-lengths"};
    }
    if (!well_formed_length(field.value)) {
      return {400, "malformed-content-length"};
    }
    head.content_length = field.value;
  } else if (field.name == "te") {
    if (field.value != "trailers") {
      return {400, "malformed-te"};
    }
    head.te = field.value;
  } else if (field.name == "expect") {
    if (!http::equals_lower(field.value, "100-continue")) {
      seen.unknown_expectation = true;
    }
    head.expects_continue = true;
  } else if (field.name == "cookie") {
    if (!head.cookie.empty()) {
      head.cookie.append("; ");
    }
    head.cookie.append(field.value);
  } else if (field.name != "http2-settings" && !http::reserved_field(field.name) &&
             (limits.keep_forwarding_claims || !http::forwarding_claim(field.name))) {
    head.grpc =
        head.grpc || (field.name == "content-type" && field.value.starts_with("application/grpc"));
    head.fields.push_back({field.name, field.value});
    head.never_index.push_back(field.never_index);
  }
  return {};
}

} // namespace

void RequestHead::clear() {
  received.clear();
  method = scheme = {};
  path.clear();
  host.clear();
  cookie.clear();
  fields.clear();
  never_index.clear();
  content_length = te = {};
  expects_continue = grpc = false;
}

http::Refusal examine(RequestHead& head, const Limits& limits) {
  std::string_view authority, path;
  Seen seen;
  bool regular = false;
  Refusal refusal;
  // Everything is looked at even after a refusal, so that the log can name method, host and path.
  for (std::size_t i = 0; i < head.received.size(); ++i) {
    const Field field = head.received[i];
    Refusal found;
    if (field.name.starts_with(':')) {
      found =
          regular ? Refusal{400, "pseudo-field-order"} : take_pseudo(field, head, authority, path);
    } else {
      regular = true;
      found = take_regular(field, limits, head, seen);
    }
    if (found && !refusal) {
      refusal = found;
    }
  }
  if (!head.cookie.empty()) {
    head.fields.push_back({"cookie", head.cookie});
    head.never_index.push_back(true);
  }
  if (head.received.overflow()) {
    return {431, "head-too-large"};
  }
  if (refusal) {
    return refusal;
  }
  if (head.method.empty() || !http::all(http::kTokenByte, head.method)) {
    return {400, "malformed-method"};
  }
  if (head.method == "CONNECT") {
    return {405, "connect"};
  }
  if (head.scheme != "http" && head.scheme != "https") {
    return {400, "malformed-scheme"};
  }
  if (path.size() > limits.max_target) {
    return {414, "target-too-long"};
  }
  if (path == "*" && head.method == "OPTIONS") {
    head.path = "*";
  } else if (const Refusal bad = http::canonical_path(path, head.path)) {
    return bad;
  }
  if (authority.data() == nullptr) {
    authority = seen.host;
  } else if (seen.host.data() != nullptr) {
    if (const Refusal bad = http::canonical_host(seen.host, head.host)) {
      return bad;
    }
    std::string canonical_authority;
    if (const Refusal bad = http::canonical_host(authority, canonical_authority)) {
      return bad;
    }
    if (canonical_authority != head.host) {
      return {400, "host-mismatch"};
    }
  }
  if (authority.data() == nullptr) {
    return {400, "no-host"};
  }
  if (const Refusal bad = http::canonical_host(authority, head.host)) {
    return bad;
  }
  if (seen.unknown_expectation) {
    return {417, "expectation"};
  }
  return {};
}

void write_fields(const RequestHead& head, std::vector<Field>& out) {
  out.push_back({":method", head.method});
  out.push_back({":scheme", head.scheme});
  out.push_back({":authority", head.host});
  out.push_back({":path", head.path});
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    out.push_back({head.fields[i].name, head.fields[i].value, head.never_index[i]});
  }
  if (!head.content_length.empty()) {
    out.push_back({"content-length", head.content_length});
  }
  if (!head.te.empty()) {
    out.push_back({"te", head.te});
  }
  if (head.expects_continue) {
    out.push_back({"expect", "100-continue"});
  }
}

http::Refusal examine(const FieldList& received, ResponseHead& head) {
  head.status = 0;
  head.fields.clear();
  bool length = false;
  for (std::size_t i = 0; i < received.size(); ++i) {
    const Field field = received[i];
    if (i == 0) {
      if (field.name != ":status" || field.value.size() != 3 ||
          !http::all(http::kDigitByte, field.value)) {
        return {502, "malformed-status"};
      }
      head.status =
          (field.value[0] - '0') * 100 + (field.value[1] - '0') * 10 + (field.value[2] - '0');
      if (head.status < 100 || head.status > 599 || head.status == 101) {
        return {502, "malformed-status"};
      }
    } else if (!well_formed_name(field.name)) {
      return {502, "malformed-field-name"};
    } else if (!well_formed_value(field.value)) {
      return {502, "malformed-field-value"};
    } else if (connection_specific(field.name)) {
      return {502, "connection-specific-field"};
    } else if (field.name == "content-length") {
      if (length) {
        return {502, "several-content-lengths"};
      }
      if (!well_formed_length(field.value)) {
        return {502, "malformed-content-length"};
      }
      length = true;
    } else if (http::reserved_field(field.name)) {
      continue;
    }
    head.fields.push_back(field);
  }
  if (received.overflow()) {
    return {502, "head-too-large"};
  }
  return head.status == 0 ? Refusal{502, "malformed-status"} : Refusal{};
}

http::Refusal filter_trailers(const FieldList& received, const Limits& limits, FieldList& out) {
  out.clear();
  if (received.overflow()) {
    return {400, "trailers-too-large"};
  }
  for (std::size_t i = 0; i < received.size(); ++i) {
    const Field field = received[i];
    if (field.name.starts_with(':')) {
      return {400, "pseudo-field-in-trailers"};
    }
    if (!well_formed_name(field.name) || !well_formed_value(field.value) ||
        connection_specific(field.name)) {
      return {400, "malformed-trailers"};
    }
    if (http::trailer_field(field.name)) {
      out.add(field, limits.max_head, limits.max_fields);
    }
  }
  return {};
}

namespace {

// What gRPC clients make of HTTP statuses; for what weir itself refuses, the code
// that says the same.
std::string_view grpc_status(int status) {
  switch (status) {
  case 403:
    return "7"; // PERMISSION_DENIED
  case 405:
    return "12"; // UNIMPLEMENTED
  case 414:
  case 431:
    return "8"; // RESOURCE_EXHAUSTED
  case 502:
  case 503:
  case 504:
    return "14"; // UNAVAILABLE
  default:
    return "13"; // INTERNAL
  }
}

std::string_view grpc_message(int status) {
  switch (status) {
  case 403:
    return "Access denied";
  case 502:
  case 503:
  case 504:
    return "Service unavailable";
  default:
    return "Request refused";
  }
}

} // namespace

OwnAnswer::OwnAnswer(int status, std::string_view denied_by, std::string_view problem,
                     const RequestHead& request)
    : x_status(std::to_string(request.grpc ? 200 : status)) {
  fields.push_back({":status", x_status});
  fields.push_back({"server", "weir"});
  if (request.grpc) {
    fields.push_back({"content-type", "application/grpc"});
    fields.push_back({"grpc-status", grpc_status(status)});
    fields.push_back({"grpc-message", grpc_message(status)});
  } else if (status == 403) {
    const std::string_view text = problem.empty() ? "Access denied\r\n" : problem;
    fields.push_back({"content-type", problem.empty() ? "text/plain" : http::kProblemType});
    x_length = std::to_string(text.size());
    fields.push_back({"content-length", x_length});
    if (request.method != "HEAD") {
      body = text;
    }
  }
  // A label is made of Kubernetes names; anything else would be an injected field.
  if (!denied_by.empty() && http::all(http::kValueByte, denied_by)) {
    fields.push_back({"x-weir-denied-by", denied_by});
  }
}

} // namespace weir::http2
