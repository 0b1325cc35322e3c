// What may stand as a server name in a ClientHello: a DNS host name and nothing that two readers
// could take for two different things. RFC 6066 §3. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace weir::tls {

// Why the bytes are no server name, as a static text for logs; empty when they are one. Allowed:
// letters, digits, hyphen, underscore in labels of 1..63 bytes, 255 bytes in all, one trailing dot;
// no IP literal in any spelling that a resolver would take for an address ("127.1", "0x7f000001").
[[nodiscard]] std::string_view server_name_fault(std::string_view name);

// Lower case, without the trailing dot. Precondition: server_name_fault() found none.
[[nodiscard]] std::string canonical_server_name(std::string_view name);

} // namespace weir::tls
