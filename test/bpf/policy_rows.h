// Rows of the kernel's policy maps, as tests write them.
#pragma once

#include "redirect-bpf/user/redirector.h"

#include <cstdint>

namespace weir::test {

redirect::PolicyRow row(weir_direction direction, std::uint32_t identity, std::uint8_t protocol,
                        std::uint16_t port, weir_verdict verdict, std::uint32_t rule = 1);
// Whatever the protocol and port.
redirect::PolicyRow row_any(weir_direction direction, std::uint32_t identity, weir_verdict verdict,
                            std::uint32_t rule = 1);

} // namespace weir::test
