#include "proxy/http/field_names.h"

#include "proxy/http/ascii.h"

#include <array>

namespace weir::http {
namespace {

// lower_prefix: lower case, with "-".
bool begins_with(std::string_view name, std::string_view lower_prefix) {
  if (name.size() < lower_prefix.size()) {
    return false;
  }
  for (std::size_t i = 0; i < lower_prefix.size(); ++i) {
    if ((name[i] == '_' ? '-' : lower(name[i])) != lower_prefix[i]) {
      return false;
    }
  }
  return true;
}

bool is_named(std::string_view name, std::string_view lower_name) {
  return name.size() == lower_name.size() && begins_with(name, lower_name);
}

constexpr std::array<std::string_view, 25> kNoTrailers = {
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "if-match",
    "if-none-match",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-http-method-override",
    "x-real-ip",
};

} // namespace

bool reserved_field(std::string_view name) {
  switch (name.empty() ? 0 : lower(name[0])) {
  case 'x':
    return begins_with(name, "x-weir-") || begins_with(name, "x-envoy-");
  case 'c':
    return name.size() > 7 && name[7] == '_' && is_named(name, "content-length");
  case 't':
    return name.size() > 8 && name[8] == '_' && is_named(name, "transfer-encoding");
  default:
    return false;
  }
}

bool forwarding_claim(std::string_view name) {
  switch (name.empty() ? 0 : lower(name[0])) {
  case 'x':
    return begins_with(name, "x-forwarded-");
  case 'f':
    return is_named(name, "forwarded");
  default:
    return false;
  }
}

bool settable_field(std::string_view name) {
  for (const std::string_view kept :
       {"connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}) {
    if (is_named(name, kept)) {
      return false;
    }
  }
  return !name.empty() && all(kTokenByte, name) && !reserved_field(name);
}

bool trailer_field(std::string_view name) {
  if (reserved_field(name) || forwarding_claim(name)) {
    return false;
  }
  for (const std::string_view refused : kNoTrailers) {
    if (is_named(name, refused)) {
      return false;
    }
  }
  return true;
}

} // namespace weir::http
