#include "policy-compiler/explain/ports_text.h"

#include "policy-compiler/model/protocol.h"
#include <netinet/in.h>

namespace weir::policy {
namespace {} // namespace

std::string ports_text(std::uint8_t protocol, std::uint16_t first, std::uint16_t last) {
  if (protocol == 0) {
    return "any port";
  }
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
    return "type " + std::to_string(first) + "/" + protocol_text(protocol);
  }
  if (first == 0 && last == 0xffff) {
    return "any port/" + protocol_text(protocol);
  }
  return std::to_string(first) + (first == last ? "" : "-" + std::to_string(last)) + "/" +
         protocol_text(protocol);
}

} // namespace weir::policy
