// A checksum for weir's own state files: against torn and bit-rotten ones. Whoever may write the
// file may as well write a good checksum.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// FNV-1a, 64 bits, as 16 hexadecimal digits.
[[nodiscard]] std::string checksum(std::string_view text);

} // namespace weir
