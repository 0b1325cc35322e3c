// What a head says about the message and the connection: how long its body is, whether the
// connection lasts, and which fields are end to end. Strict RFC 9112 §6: a message whose length
// two readers could disagree about is refused, so that nothing can be smuggled between them.
#pragma once

#include "proxy/http/message.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace weir::http {

// Kept by a session and refilled for each message.
struct RequestFacts {
  Framing body;
  bool keep_alive = false; // the client would have the connection go on
  bool expects_continue = false;
  bool takes_trailers = false; // "TE: trailers"; no other transfer coding is negotiated
  // The one protocol that the client offers to change to; empty: none that weir lets through.
  std::string_view upgrade;
  // End-to-end fields without Host and framing, those that are not the client's to set removed
  // (field_names.h): what policy sees and the server is sent.
  std::vector<Header> fields;
  std::vector<std::string_view> connection_options; // scratch
};

struct ResponseFacts {
  Framing body;
  bool keep_alive = false; // the server would have the connection go on
  std::string_view upgrade;
  // HEAD and 304: the length that a body would have had.
  std::optional<std::uint64_t> described_length;
  std::vector<Header> fields;
  std::vector<std::string_view> connection_options; // scratch
};

// keep_forwarding_claims: X-Forwarded-* and Forwarded are passed on as the client sent them.
Refusal examine(const RequestHead& head, RequestFacts& facts, bool keep_forwarding_claims = false);
// to_head: the request was HEAD.
Refusal examine(const ResponseHead& head, bool to_head, ResponseFacts& facts);

} // namespace weir::http
