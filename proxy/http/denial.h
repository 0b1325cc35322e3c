// What a denied client is told, in HTTP/1 and HTTP/2 alike: "Access denied", and to clients that
// ask for it the reason as a problem document (RFC 9457). Pure functions.
#pragma once

#include "proxy/http/message.h"

#include <span>
#include <string>
#include <string_view>

namespace weir::http {

inline constexpr std::string_view kProblemType = "application/problem+json";

// Untrusted text, all of it; escaped and cut where it is written.
struct Denial {
  std::string_view policy; // "shop/api" or "default-deny"
  std::string_view rule;   // "ingress rule 2"; empty: no rule
  std::string_view reason; // "path"
  std::string_view nearest;
};

// Would the client rather have a problem document than plain text? Only when its Accept says so
// (RFC 9110 §12.5.1): by name with a quality above 0, or by a range that it prefers to text/plain.
bool prefers_problem(std::span<const Header> fields);

// Appends the document, with a line end.
void write_problem(const Denial& denial, std::string& out);

} // namespace weir::http
