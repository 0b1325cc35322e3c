// Untrusted text as a JSON string: valid whatever the bytes are, harmless to whoever reads it in a
// terminal or editor, and bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weir {

// Appends it between quotes. Of text longer than `most` bytes only the beginning, with an ellipsis.
// A byte that belongs to no UTF-8 sequence is written as \u00XX.
void append_json_text(std::string_view text, std::size_t most, std::string& out);

} // namespace weir
