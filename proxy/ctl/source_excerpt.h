// The line of a file that a message is about, with a caret below its column.
#pragma once

#include <string>
#include <string_view>

namespace weir::ctl {

// "   12 |   ingres:\n      |   ^\n"; empty where there is no such line. 1-based; the column counts
// bytes. Long lines are cut.
[[nodiscard]] std::string source_excerpt(std::string_view source, int line, int column);

} // namespace weir::ctl
