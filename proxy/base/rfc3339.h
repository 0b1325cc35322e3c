// Times as logs and admin pages show them: RFC 3339, UTC, microseconds.
#pragma once

#include "proxy/base/text_writer.h"

#include <chrono>
#include <cstddef>
#include <string>

namespace weir {

// "2026-11-24T09:05:07.000042Z", kRfc3339 bytes. Years 0 to 9999.
inline constexpr std::size_t kRfc3339 = 27;
void write_rfc3339(std::chrono::system_clock::time_point time, TextWriter& out);
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);

} // namespace weir
