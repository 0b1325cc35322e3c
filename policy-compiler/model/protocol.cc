#include "policy-compiler/model/protocol.h"

#include <netinet/in.h>

#include <utility>

namespace weir::policy {
namespace {

constexpr std::pair<std::string_view, std::uint8_t> kNames[] = {{"TCP", IPPROTO_TCP},
                                                                {"UDP", IPPROTO_UDP},
                                                                {"SCTP", IPPROTO_SCTP},
                                                                {"ICMP", IPPROTO_ICMP},
                                                                {"ICMPv6", IPPROTO_ICMPV6}};

} // namespace

std::optional<std::uint8_t> protocol_of(std::string_view name) {
  for (const auto& [known, number] : kNames) {
    if (known == name) {
      return number;
    }
  }
  return std::nullopt;
}

std::string protocol_text(std::uint8_t protocol) {
  for (const auto& [name, number] : kNames) {
    if (number == protocol) {
      return std::string(name);
    }
  }
  return "protocol " + std::to_string(protocol);
}

} // namespace weir::policy
