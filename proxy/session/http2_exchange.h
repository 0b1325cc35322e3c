// One request on a stream of HTTP/2 and its answer, with both of its ends: the client's stream and
// the server's. Kept by an Http2Bridge, which keeps its storage for the next one.
#pragma once

#include "proxy/http2/connection.h"
#include "proxy/http2/message.h"
#include "proxy/session/http_record.h"

#include <list>

namespace weir::session {

class Http2Upstream;

struct Http2Exchange : HttpRecord {
  using Handle = std::list<Http2Exchange>::iterator;

  struct End : http2::StreamEnd {
    explicit End(Http2Exchange& owner) : exchange(owner) {}
    Http2Exchange& exchange;
  };
  // `end`: of one, as events bring it.
  static Http2Exchange& of(http2::StreamEnd& end) { return static_cast<End&>(end).exchange; }

  // Allowed, and not sent to the server yet.
  [[nodiscard]] bool waits() const { return upstream != nullptr && !server.open && !server_done; }
  // For another request, which begin() begins; storage and `self` are kept.
  void clear() {
    client.clear();
    server.clear();
    request.clear();
    upstream = nullptr;
    answered = own_answer = recorded = server_done = false;
  }

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
};

} // namespace weir::session
