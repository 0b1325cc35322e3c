#include "proxy/session/header_edits.h"

#include "policy-compiler/runtime/http_matcher.h"
#include "proxy/http/ascii.h"
#include "proxy/http/field_names.h"

namespace weir::session {

bool HeaderEdits::same_name(std::string_view name, std::string_view lower_name) {
  return http::equals_lower(name, lower_name);
}

void HeaderEdits::take(const policy::L7Decision& decision,
                       std::span<const policy::HttpHeader> fields) {
  using Kind = policy::HeaderAction::Kind;
  for (const policy::HeaderActions* actions : decision.actions) {
    if (actions == nullptr) {
      continue;
    }
    for (const policy::HeaderAction& action : actions->list) {
      const policy::HeaderMatcher& wanted = action.wanted;
      if (wanted.matches(fields)) {
        continue;
      }
      x_mismatches.append(x_mismatches.empty() ? "" : ",").append(wanted.name);
      if (action.kind == Kind::kLog || !http::settable_field(wanted.name)) {
        continue;
      }
      Edit edit;
      edit.removes = action.kind != Kind::kAdd;
      // A value that no field can have adds nothing, and what it would have replaced goes.
      edit.adds = action.kind != Kind::kDelete && wanted.value &&
                  http::all(http::kValueByte, *wanted.value) &&
                  http::trim(*wanted.value).size() == wanted.value->size();
      for (const char c : wanted.name) {
        edit.name.push_back(http::lower(c));
      }
      if (edit.adds) {
        edit.value = *wanted.value;
      }
      x_edits.push_back(std::move(edit));
    }
  }
}

} // namespace weir::session
