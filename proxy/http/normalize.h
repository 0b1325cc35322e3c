// The one canonical form of a request's path and host (DESIGN §4): what policy matches is what is
// forwarded, byte for byte, so that no server can read another path out of it than policy did.
// Pure functions; the same code serves the policy tests.
//
// Canonical forms are fixed points: canonicalising one again changes nothing.
#pragma once

#include "proxy/http/message.h"

#include <string>
#include <string_view>

namespace weir::http {

struct CanonicalTarget {
  std::string path; // with "?query" as received, or "*"; empty: CONNECT
  std::string host; // empty only for an HTTP/1.0 request without Host and without default
};

// Path with query, beginning with "/". In order: refuse bytes that cannot stand in a target; split
// off the query; decode percent-encoded unreserved bytes, once; drop "." and ".." segments, looking
// at each without its ";parameters"; merge slashes. Refused with 400: malformed percent-encoding,
// encoded "/" "\" NUL, encodings of these and of "." behind a doubly encoded percent sign,
// overlong UTF-8, ".." above the root.
Refusal canonical_path(std::string_view path_and_query, std::string& out);

// Lower case, without one trailing dot; a port, where there is one, is kept. Refused with 400:
// user information, bytes outside of host names, empty labels, ports that are none.
Refusal canonical_host(std::string_view authority, std::string& out);

// Target and Host together, for every form of target (RFC 9112 §3.2). default_host: for HTTP/1.0
// without a Host field. CONNECT is refused with 405 unless allow_connect: its target is a host with
// a port, and there is no path.
Refusal canonical_target(const RequestHead& head, std::string_view default_host,
                         CanonicalTarget& out, bool allow_connect = false);

} // namespace weir::http
