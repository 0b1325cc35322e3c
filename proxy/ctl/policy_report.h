// How diagnostics of policies are shown: with the line of the file that they are about, or as JSON.
#pragma once

#include "policy-compiler/diagnostic.h"

#include <boost/json/object.hpp>

#include <string_view>

namespace weir::ctl {

// "file:line:column: error: message", the line with a caret, the hint.
void print_diagnostic(const policy::Diagnostic& one, std::string_view source);
[[nodiscard]] boost::json::object diagnostic_json(const policy::Diagnostic& one);

} // namespace weir::ctl
