#include "proxy/session/http_body_part.h"

namespace weir::session {

void add_body_part(net::Gather& gather, http::Framing::Kind kind, http::ChunkLine& line,
                   std::string_view payload, bool last, std::string_view trailers) {
  if (kind != http::Framing::Kind::kChunked) {
    gather.add(payload);
    return;
  }
  if (!payload.empty()) {
    gather.add(line.format(payload.size()));
    gather.add(payload);
    if (!last) {
      gather.add(http::kChunkEnd);
      return;
    }
    gather.add(trailers.empty() ? http::kChunkEndAndLastChunk : http::kChunkEndAndLastChunkLine);
  } else if (last) {
    gather.add(trailers.empty() ? http::kLastChunk : http::kLastChunkLine);
  }
  if (last && !trailers.empty()) {
    gather.add(trailers);
    gather.add(http::kEmptyLine);
  }
}

} // namespace weir::session
