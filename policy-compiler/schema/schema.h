// A JSON Schema (draft 7) of the policies that weir reads, made from the parser's own tables: what
// editors check and complete by. It says which fields there are and of what type; what only a
// parser can see (expressions, prefixes, combinations) is left to `weirctl policy check`.
#pragma once

#include <boost/json/object.hpp>

namespace weir::policy {

[[nodiscard]] boost::json::object policy_schema();

} // namespace weir::policy
