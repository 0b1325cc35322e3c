// A body's next bytes, framed for who is sent them.
#pragma once

#include "proxy/http/message.h"
#include "proxy/http/serializer.h"
#include "proxy/net/stream.h"

#include <string_view>

namespace weir::session {

// At most five pieces. `last`: no more follows, and trailer lines, where there are any, go with it.
// All that is referred to, `line` too, is to live until it is written.
void add_body_part(net::Gather& gather, http::Framing::Kind kind, http::ChunkLine& line,
                   std::string_view payload, bool last, std::string_view trailers);

} // namespace weir::session
