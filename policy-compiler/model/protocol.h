// Names of the protocols that policies and people speak of, and their numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::policy {

// TCP, UDP, SCTP, ICMP or ICMPv6, spelled so; nothing for another text.
[[nodiscard]] std::optional<std::uint8_t> protocol_of(std::string_view name);
// One of these names, or "protocol 47".
[[nodiscard]] std::string protocol_text(std::uint8_t protocol);

} // namespace weir::policy
