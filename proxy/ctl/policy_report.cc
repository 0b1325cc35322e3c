#include "proxy/ctl/policy_report.h"

#include "proxy/ctl/command.h"
#include "proxy/ctl/source_excerpt.h"
#include "proxy/ctl/table.h"

namespace weir::ctl {

std::string_view severity_name(policy::Severity severity) {
  switch (severity) {
  case policy::Severity::kError:
    return "error";
  case policy::Severity::kWarning:
    return "warning";
  case policy::Severity::kNote:
    return "note";
  }
  return "error";
}

void print_diagnostic(const policy::Diagnostic& one, std::string_view source) {
  std::string text = one.location.file;
  if (one.location.line > 0) {
    text += ":" + std::to_string(one.location.line) + ":" + std::to_string(one.location.column);
  }
  text += ": " + std::string(severity_name(one.severity)) + ": " + one.message;
  if (!one.code.empty() && one.severity != policy::Severity::kError) {
    text += " [" + one.code + "]";
  }
  text = printable(text) + "\n" + source_excerpt(source, one.location.line, one.location.column);
  if (!one.hint.empty()) {
    text += "  hint: " + printable(one.hint) + "\n";
  }
  print(text);
}

boost::json::object diagnostic_json(const policy::Diagnostic& one) {
  return {{"severity", severity_name(one.severity)},
          {"line", one.location.line},
          {"column", one.location.column},
          {"message", one.message},
          {"hint", one.hint},
          {"code", one.code}};
}

} // namespace weir::ctl
