// The two rules and two routes that deliver packets marked WEIR_MARK_TO_PROXY to this host,
// whatever their destination:
//
//   ip [-6] rule add pref 8 fwmark 0x200/0xf00 lookup 100 protocol 93
//   ip [-6] route add local default dev lo table 100 proto 93
//
// The protocol number is weir's own, so that what weir made can be told from what was there, and
// removing takes exactly that. Sysctls stay as they are: none is needed (README, kernel facts).
//
// Control thread, in the network namespace to be changed. Errors: the kernel's.
#pragma once

#include "proxy/base/result.h"

#include <cstdint>

namespace weir::redirect {

inline constexpr std::uint32_t kRulePriority = 8; // before the rules of any CNI known to us
inline constexpr std::uint8_t kRouteProtocol = 93;

// Does nothing where they are there. A kernel without IPv6 gets IPv4's only.
Result<void> ensure_routes();
Result<void> remove_routes();

} // namespace weir::redirect
