#include "policy-compiler/diagnostic.h"

namespace weir::policy {

std::string_view severity_name(Severity severity) {
  switch (severity) {
  case Severity::kError:
    return "error";
  case Severity::kWarning:
    return "warning";
  case Severity::kNote:
    return "note";
  }
  return "error";
}

std::string Location::text() const {
  return line > 0 ? file + ':' + std::to_string(line) + ':' + std::to_string(column) : file;
}

std::string Diagnostic::text() const {
  std::string out = location.text();
  if (!out.empty()) {
    out += ": ";
  }
  out += severity_name(severity);
  out += ": " + message;
  if (!hint.empty()) {
    out += ", " + hint;
  }
  return out;
}

} // namespace weir::policy
