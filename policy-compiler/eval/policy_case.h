// Worked cases: a small cluster, policies and flows, and what is to come of them, all in one JSON
// file. Runs one through parse → compile → decide and judge, the very code that pods are judged
// by, and compares. For `weirctl policy eval` and for the tests.
//
// The format is described in test/policy/cases/README.md. No files, no clock; never throws.
#pragma once

#include "proxy/base/result.h"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

// {"policies": […], "flows": […]}, in the order of the case. An error: the case is not one.
[[nodiscard]] Result<boost::json::object> answer_case(const boost::json::value& policy_case);

// What differs, each as one line for people: "flow 3 (p0 → p1 TCP/80): verdict allow, expected
// deny". Empty: all agree. Rows where weir is stricter on purpose count as agreement.
[[nodiscard]] std::vector<std::string> compare_answers(const boost::json::value& policy_case,
                                                       const boost::json::object& answers);

} // namespace weir::policy
