// How ports are written down where rules are compared by what they say and not by what it comes to.
#pragma once

#include "policy-compiler/model/policy.h"

#include <netinet/in.h>

#include <array>
#include <string>

namespace weir::policy {

inline constexpr std::array<std::uint8_t, 3> kPortProtocols = {IPPROTO_TCP, IPPROTO_UDP,
                                                               IPPROTO_SCTP};

template <typename Visit>
void for_each_protocol(const PortMatch& match, Visit&& visit) {
  for (const std::uint8_t protocol : kPortProtocols) {
    if (match.protocol == 0 || match.protocol == protocol) {
      visit(protocol);
    }
  }
}

inline std::string port_text(const PortMatch& match, std::uint8_t protocol) {
  return std::to_string(protocol) + '/' +
         (match.name.empty() ? std::to_string(match.first) : match.name) + '-' +
         std::to_string(match.last);
}

} // namespace weir::policy
