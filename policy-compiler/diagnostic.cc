#include "policy-compiler/diagnostic.h"

namespace weir::policy {
namespace {

const char* name_of(Severity severity) {
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

} // namespace

std::string Diagnostic::text() const {
  std::string out = location.file;
  if (location.line > 0) {
    out += ':' + std::to_string(location.line) + ':' + std::to_string(location.column);
  }
  if (!out.empty()) {
    out += ": ";
  }
  out += name_of(severity);
  out += ": " + message;
  if (!hint.empty()) {
    out += ", " + hint;
  }
  return out;
}

} // namespace weir::policy
