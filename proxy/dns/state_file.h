// The state file's text: what was learned, as versioned JSON under a checksum. Pure.
//
//   {"version":1,"checksum":"<FNV-1a, 64 bits, of the entries' JSON>",
//    "entries":[{"endpoint":7,"name":"www.example.com.","address":"192.0.2.1","ttl":30,
//                "expires":1700000000}, …]}
#pragma once

#include "proxy/base/result.h"
#include "proxy/dns/fqdn_cache.h"

#include <string>
#include <string_view>
#include <vector>

namespace weir::dns {

[[nodiscard]] std::string format_state(const std::vector<LearnedName>& entries);
// All of it or an error: half a file is not believed.
[[nodiscard]] Result<std::vector<LearnedName>> parse_state(std::string_view text);

} // namespace weir::dns
