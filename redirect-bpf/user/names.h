// What the codes of the ABI header are called, for people: in metrics, flows and dumps. Names are
// a contract with people's scripts, as the codes are. Any thread.
#pragma once

#include "redirect-bpf/abi/weir_abi.h"

#include <span>
#include <string_view>

namespace weir::redirect {

struct CodeName {
  unsigned code = 0;
  std::string_view name;
};

// Every reason that a packet is dropped for, by WEIR_DROP_*.
[[nodiscard]] std::span<const CodeName> drop_names();
// One of them, or "audit"; "unknown" for another number.
[[nodiscard]] std::string_view drop_name(unsigned reason);
// By WEIR_COUNT_*, without the events lost.
[[nodiscard]] std::span<const CodeName> packet_verdict_names();
// Reserved identities, as policies call them ("world-ipv4"); empty for all others.
[[nodiscard]] std::string_view identity_name(unsigned identity);

} // namespace weir::redirect
