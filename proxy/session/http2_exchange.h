// One request on a stream of HTTP/2 and its answer, with both of its ends: the client's stream and
// the server's. Kept by an Http2Bridge, which keeps its storage for the next one.
#pragma once

#include "proxy/base/access_record.h"
#include "proxy/http2/connection.h"
#include "proxy/http2/message.h"
#include "proxy/session/denial_note.h"
#include "proxy/session/header_edits.h"

#include <chrono>
#include <cstdint>
#include <list>

namespace weir::session {

class Http2Upstream;

struct Http2Exchange {
  using Handle = std::list<Http2Exchange>::iterator;

  struct End : http2::StreamEnd {
    explicit End(Http2Exchange& owner) : exchange(owner) {}
    Http2Exchange& exchange;
  };
  // `end`: of one, as events bring it.
  static Http2Exchange& of(http2::StreamEnd& end) { return static_cast<End&>(end).exchange; }

  // Allowed, and not sent to the server yet.
  [[nodiscard]] bool waits() const { return upstream != nullptr && !server.open && !server_done; }
  // As new, but for storage and `self`.
  void clear();
  // What is known of it as a line of the log; views of this.
  void describe(AccessRecord& record) const;

  End client{*this}, server{*this};
  Handle self; // where it is kept
  http2::RequestHead request;
  // While the server's end is, or is to be, on it, and then until the client has taken all of the
  // answer, for which the server's connection is credited only then.
  Http2Upstream* upstream = nullptr;
  bool server_done = false; // the server's end was open and is closed
  bool answered = false;    // the client was sent a final head
  bool own_answer = false;  // that one, or a reset, was weir's decision
  bool recorded = false;

  std::chrono::system_clock::time_point time;
  std::chrono::steady_clock::time_point start;
  int status = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;
  DenialNote denial;
  HeaderEdits edits;
};

} // namespace weir::session
