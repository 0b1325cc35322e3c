// What the compiler has to say about a policy file: where, what, and what to do about it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

enum class Severity : std::uint8_t {
  kError,   // the document is refused
  kWarning, // accepted, but part of it has no effect or is likely an accident
  kNote,    // accepted or skipped; good to know
};

[[nodiscard]] std::string_view severity_name(Severity severity);

// 1-based; line 0: the file as a whole. In the order of files, then of places in them.
struct Location {
  std::string file;
  int line = 0;
  int column = 0;

  auto operator<=>(const Location&) const = default;

  // "file:line:column", or "file"
  [[nodiscard]] std::string text() const;
};

struct Diagnostic {
  Severity severity = Severity::kError;
  Location location;
  std::string message; // "unknown field `fromEndpoint`"
  std::string hint;    // "did you mean `fromEndpoints`?"; may be empty
  std::string code;    // stable, for lint pages and tests: "unknown-field"

  // "file:line:column: error: message, hint"
  [[nodiscard]] std::string text() const;
};

using Diagnostics = std::vector<Diagnostic>;

} // namespace weir::policy
