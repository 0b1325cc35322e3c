#include "proxy/ctl/policy_report.h"

#include "proxy/ctl/command.h"
#include "proxy/ctl/source_excerpt.h"
#include "proxy/ctl/table.h"

namespace weir::ctl {

void print_diagnostic(const policy::Diagnostic& one, std::string_view source) {
  std::string text = one.location.text() + ": " + std::string(policy::severity_name(one.severity)) +
                     ": " + one.message;
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
  return {{"severity", policy::severity_name(one.severity)},
          {"line", one.location.line},
          {"column", one.location.column},
          {"message", one.message},
          {"hint", one.hint},
          {"code", one.code}};
}

} // namespace weir::ctl
