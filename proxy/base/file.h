// Whole files, read and replaced. Any thread.
#pragma once

#include "proxy/base/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir {

// Refuses files over `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = 64u << 20);

// Readers see the old file or the new one, also after a crash: written beside (PATH.tmp), synced,
// renamed. On an error the old file stays.
Result<void> replace_file(const std::string& path, std::string_view content);

// Renames a file that cannot be understood to PATH.corrupt, so that it is neither used nor lost.
void set_aside(const std::string& path);

} // namespace weir
