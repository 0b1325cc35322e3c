#include "test/bpf/policy_rows.h"

#include <arpa/inet.h>

namespace weir::test {

redirect::PolicyRow row(weir_direction direction, std::uint32_t identity, std::uint8_t protocol,
                        std::uint16_t port, weir_verdict verdict, std::uint32_t rule) {
  redirect::PolicyRow row{};
  row.key = {.prefix_length = WEIR_POLICY_PREFIX_FULL,
             .identity = identity,
             .direction = static_cast<std::uint8_t>(direction),
             .protocol = protocol,
             .port_be = htons(port)};
  row.entry.verdict = static_cast<std::uint8_t>(verdict);
  row.entry.rule = rule;
  return row;
}

redirect::PolicyRow row_any(weir_direction direction, std::uint32_t identity, weir_verdict verdict,
                            std::uint32_t rule) {
  redirect::PolicyRow any = row(direction, identity, 0, 0, verdict, rule);
  any.key.prefix_length = WEIR_POLICY_PREFIX_ANY_PROTOCOL;
  return any;
}

} // namespace weir::test
