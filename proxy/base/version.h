// The version that this was built as; CMakeLists.txt at the root says it.
#pragma once

#include <string_view>

namespace weir {

[[nodiscard]] std::string_view version();

} // namespace weir
