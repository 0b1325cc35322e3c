// What the server's first record says about the client's next one. After a HelloRetryRequest the
// client sends a second ClientHello, and servers go by the name in that one: a reader that looks
// at the first hello only can be told one name while the server is told another. RFC 8446 §4.1.4.
//
// No I/O. One connection's, on its thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weir::tls {

enum class ServerAnswer : std::uint8_t {
  kNeedMore,
  kFinal, // a ServerHello or an alert: no other name will be sent in the clear
  kRetry, // a HelloRetryRequest, whole; a second ClientHello follows
  kNotTls // neither
};

// `bytes`: all that the server has sent so far. Asks for one whole record only where it may be a
// HelloRetryRequest. Servers send that message in one record; cut into several it is kNotTls.
[[nodiscard]] ServerAnswer read_server_answer(std::span<const std::uint8_t> bytes);

} // namespace weir::tls
