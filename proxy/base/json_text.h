// Untrusted text as a JSON string: valid whatever the bytes are, harmless to whoever reads it in a
// terminal or editor, and bounded.
#pragma once

#include "proxy/base/text_writer.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir {

// Writes it between quotes. Of text longer than `most` bytes only the beginning, with an ellipsis.
// A byte that belongs to no UTF-8 sequence is written as \u00XX.
void write_json_text(std::string_view text, std::size_t most, TextWriter& out);
void append_json_text(std::string_view text, std::size_t most, std::string& out);
// The same without the quotes, for a string of several parts.
void write_json_characters(std::string_view text, std::size_t most, TextWriter& out);

// Room that each of them finds enough.
[[nodiscard]] std::size_t json_text_room(std::string_view text, std::size_t most);

} // namespace weir
