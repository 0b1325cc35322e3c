#include "proxy/session/source_address.h"

namespace weir::session {

std::optional<IpAddress> source_towards(const runtime::Worker& worker, ClientAddr client,
                                        OriginalDst server) {
  if (worker.snapshot()->registry->identity_of(server.value.ip) == WEIR_IDENTITY_HOST) {
    return std::nullopt;
  }
  return client.value.ip;
}

} // namespace weir::session
