// Who refused a request and why, kept for the answer and the log: what a decision refers to lives
// only until policy is asked again.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/access_record.h"
#include "proxy/http/denial.h"

#include <string>
#include <string_view>
#include <utility>

namespace weir::session {

struct DenialNote {
  std::string policy, rule, nearest;
  std::string_view reason; // static text
  bool audit = false;      // was let pass all the same

  // Keeps its storage.
  void clear() {
    policy.clear();
    rule.clear();
    nearest.clear();
    reason = {};
    audit = false;
  }
  void take(const policy::L7Decision& decision, std::string what_came_nearest) {
    policy.assign(decision.rule->label);
    rule.clear();
    if (decision.rule->rule_number != 0) {
      rule.append(decision.rule->section).append(" rule ");
      rule.append(std::to_string(decision.rule->rule_number));
    }
    reason = decision.reason;
    nearest = std::move(what_came_nearest);
    audit = decision.audit;
  }
  [[nodiscard]] http::Denial denial() const { return {policy, rule, reason, nearest}; }
  void describe(AccessRecord& record) const {
    record.denied_by = policy;
    record.denying_rule = rule;
    record.nearest = nearest;
    record.reason = reason;
  }
};

} // namespace weir::session
