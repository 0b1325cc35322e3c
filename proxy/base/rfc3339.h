// Times as logs and admin pages show them: RFC 3339, UTC, microseconds.
#pragma once

#include <chrono>
#include <string>

namespace weir {

// "2026-11-24T09:05:07.000042Z". Years 0 to 9999. Allocates only for the growth of `out`.
void append_rfc3339(std::chrono::system_clock::time_point time, std::string& out);
[[nodiscard]] std::string rfc3339(std::chrono::system_clock::time_point time);

} // namespace weir
