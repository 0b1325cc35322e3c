#include "proxy/session/onward.h"

namespace weir::session {

Onward onward(const runtime::Worker& worker, redirect::Redirector* redirector, ClientAddr client,
              OriginalDst asked, std::uint8_t protocol) {
  Onward out{asked, client.value.ip};
  if (redirector != nullptr) {
    out.server.value =
        redirector->backend_of(client.value, asked.value, protocol).value_or(asked.value);
  }
  if (worker.snapshot()->registry->identity_of(out.server.value.ip) == WEIR_IDENTITY_HOST) {
    out.source.reset();
  }
  return out;
}

} // namespace weir::session
