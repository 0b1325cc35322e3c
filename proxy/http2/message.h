// Heads and trailers of HTTP/2 as weir understands them: checked, in canonical form, and split
// into what policy sees and what is forwarded, which is the same. The rules are those of HTTP/1
// (proxy/http/framing.h) in HTTP/2's spelling (RFC 9113 §8.2, §8.3); path and host go through the
// same canonicaliser. nghttp2 has checked much of this before; it is checked again because the
// versions differ, and what one of them lets pass policy would have to answer for.
//
// Pure functions. Text is views into the lists given.
#pragma once

#include "policy-compiler/runtime/http_request.h"
#include "proxy/http/message.h"
#include "proxy/http2/fields.h"
#include "proxy/http2/limits.h"

#include <string>
#include <string_view>
#include <vector>

namespace weir::http2 {

// A request. Kept as long as its stream runs, so that it can be judged again when policy changes.
struct RequestHead {
  FieldList received;

  std::string_view method, scheme;
  std::string path, host; // canonical (proxy/http/normalize.h)
  std::string cookie;     // the crumbs put together again (RFC 9113 §8.2.3)
  // End-to-end fields without framing; x-weir-* and x-envoy-* removed: what policy sees.
  std::vector<policy::HttpHeader> fields;
  std::vector<bool> never_index; // of fields, one by one
  std::string_view content_length, te;
  bool expects_continue = false;
  bool grpc = false;

  [[nodiscard]] policy::HttpRequest for_policy() const { return {method, path, host, fields}; }
  void clear();
};

// Fills the rest from `received`. What is filled before a refusal is good for a log.
http::Refusal examine(RequestHead& head, const Limits& limits);
// Appends the head that the server is sent.
void write_fields(const RequestHead& head, std::vector<Field>& out);

struct ResponseHead {
  int status = 0;
  std::vector<Field> fields; // with :status; what the client is sent
};
http::Refusal examine(const FieldList& received, ResponseHead& head);

// Leaves out what must not stand in trailers: a server that adds trailers to the head would see
// fields that policy has not. Refused: pseudo fields.
http::Refusal filter_trailers(const FieldList& received, const Limits& limits, FieldList& out);

// weir's own answer. To gRPC clients errors are HTTP 200 with a grpc-status, in a head that is
// the trailers as well (the protocol's "Trailers-Only").
struct OwnAnswer {
  // problem: a document to be sent in place of the text (proxy/http/denial.h); outlives this.
  OwnAnswer(int status, std::string_view denied_by, std::string_view problem,
            const RequestHead& request);

  std::vector<Field> fields;
  std::string_view body; // static text, or the problem

private:
  std::string x_status, x_length;
};

} // namespace weir::http2
