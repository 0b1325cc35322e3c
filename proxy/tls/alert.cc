#include "proxy/tls/alert.h"

namespace weir::tls {

std::array<std::uint8_t, 7> alert_record(Alert alert) {
  constexpr std::uint8_t kAlertRecord = 21;
  constexpr std::uint8_t kFatal = 2;
  // Before a version is agreed, clients of every version take TLS 1.2's number here.
  return {kAlertRecord, 3, 3, 0, 2, kFatal, static_cast<std::uint8_t>(alert)};
}

} // namespace weir::tls
