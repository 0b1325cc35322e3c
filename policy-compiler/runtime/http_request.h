// A request head as policy sees it: the canonical form that is also forwarded.
#pragma once

#include <span>
#include <string_view>

namespace weir::policy {

struct HttpHeader {
  std::string_view name; // as received; compared without case
  std::string_view value;
};

// Views into the session's buffer; valid for one judgement.
struct HttpRequest {
  std::string_view method;
  std::string_view path; // canonical, with "?query" as received
  std::string_view host; // canonical authority, with the port where the request had one
  std::span<const HttpHeader> headers;
};

} // namespace weir::policy
