// Words for ports, in answers of the trace.
#pragma once

#include <cstdint>
#include <string>

namespace weir::policy {

// "80/TCP", "8000-8999/UDP", "type 8/ICMP", "any port"
[[nodiscard]] std::string ports_text(std::uint8_t protocol, std::uint16_t first,
                                     std::uint16_t last);

} // namespace weir::policy
