// Fields by what may be done with them, the same for HTTP/1 and HTTP/2. Names in any case. Servers
// that pass fields on as CGI variables do not tell "_" from "-", so neither does this.
#pragma once

#include <string_view>

namespace weir::http {

// Not a peer's to set: x-weir-* and x-envoy-*, and framing fields in a spelling that HTTP does not
// know but a server behind weir might ("Content_Length").
bool reserved_field(std::string_view name);

// What a client claims about connections before its own: Forwarded (RFC 7239), X-Forwarded-*. Pods
// can claim anything there, and the address of the connection is the pod's own anyway.
bool forwarding_claim(std::string_view name);

// May it stand in trailers? Not what frames, routes or authenticates a message or says how its
// body is to be read (RFC 9110 §6.5.1): a receiver that merges trailers into the head would be
// led by it.
bool trailer_field(std::string_view name);

// May a policy have it changed in a request? What frames and routes the message is weir's own to
// write, and what is no field name is nobody's.
bool settable_field(std::string_view name);

} // namespace weir::http
