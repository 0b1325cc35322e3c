// What rules with a mismatch action (headerMatches[].mismatch) change in the fields of a request
// that they let through. Decided when the request is judged and kept beside it, because the policy
// that said so may be gone when the request is sent.
#pragma once

#include "policy-compiler/runtime/program.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace weir::session {

class HeaderEdits {
public:
  // Keeps its storage.
  void clear() {
    x_edits.clear();
    x_mismatches.clear();
  }
  // `fields` are what policy judged.
  void take(const policy::L7Decision& decision, std::span<const policy::HttpHeader> fields);

  [[nodiscard]] bool empty() const { return x_edits.empty(); }
  // Names of the fields that were not as a rule wants them, joined with ","; for the log.
  [[nodiscard]] const std::string& mismatches() const { return x_mismatches; }

  // Field: with `name`, made of a name and a value. What is added refers to this.
  template <typename Field>
  void apply(std::vector<Field>& fields) const {
    for (const Edit& edit : x_edits) {
      if (edit.removes) {
        std::erase_if(fields, [&](const Field& field) { return same_name(field.name, edit.name); });
      }
      if (edit.adds) {
        fields.push_back({edit.name, edit.value});
      }
    }
  }

private:
  struct Edit {
    std::string name, value; // the name in lower case, as HTTP/2 wants it
    bool removes = false, adds = false;
  };
  static bool same_name(std::string_view name, std::string_view lower_name);

  std::vector<Edit> x_edits;
  std::string x_mismatches;
};

} // namespace weir::session
