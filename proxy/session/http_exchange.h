// One request and its answer, as far as they are known: each step of a session fills in its part
// and reads what earlier steps left. In the end it is a line of the access log.
//
// One object a session, begun anew for each request, so that its strings and vectors keep their
// storage. Views are into the session's read buffers.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/http/body.h"
#include "proxy/http/framing.h"
#include "proxy/http/message.h"
#include "proxy/http/normalize.h"
#include "proxy/http/serializer.h"
#include "proxy/session/http_judge.h"
#include "proxy/session/http_record.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::session {

struct HttpService;

// How passing a request on has ended.
enum class Outcome : std::uint8_t {
  kDone,     // the client has the whole answer
  kNoAnswer, // the server ended the connection without a byte of answer
  kFailed,   // the exchange says why; the client has no byte of a final answer
  kBroken,   // cut off in the middle: both sides are to be reset
  kTunnel,   // 101, or CONNECT: from here on, bytes
};
[[nodiscard]] constexpr bool unanswered(Outcome outcome) {
  return outcome == Outcome::kNoAnswer || outcome == Outcome::kFailed;
}

struct HttpExchange : HttpRecord {
  // The time is now; nothing else is known of the next request.
  void begin();
  // weir answers with this status; 0: nobody is there to be answered.
  void fail(int with_status, std::string_view why);
  // Notes who refuses the request, or audits it.
  void deny(const policy::L7Decision& decision, const HttpJudge& judge);

  [[nodiscard]] policy::HttpRequest for_policy() const {
    return {request.method, target.path, target.host, facts.fields};
  }
  [[nodiscard]] bool is_connect() const { return request.method == "CONNECT"; }
  [[nodiscard]] bool client_speaks_http11() const {
    return request.version == http::Version::kHttp11;
  }
  [[nodiscard]] bool has_body() const { return facts.body.kind != http::Framing::Kind::kNone; }
  // What the client is told of its connection's future.
  [[nodiscard]] http::ConnectionField client_connection() const;

  // Counts the exchange and writes its line.
  void record(const HttpJudge& judge, HttpService& service) const;

  // The request, and how it is forwarded.
  http::RequestHead request;
  http::RequestFacts facts;
  http::CanonicalTarget target;
  bool have_target = false; // the request was understood so far
  http::BodyReader request_body;
  std::size_t body_at = 0;          // in the read buffer: where the body began
  std::string_view first_part;      // payload that came with the head
  std::vector<http::Header> edited; // the fields as they are forwarded, where edits change them
  std::string request_out;          // the head that the server is sent

  // The answer, the server's or weir's.
  http::ResponseHead response;
  http::ResponseFacts response_facts;
  http::BodyReader response_body;
  std::string response_out;    // the head that the client is sent
  std::string problem;         // the body of a denial
  bool response_begun = false; // a byte of the final answer is on its way to the client

  bool keep_client = true;  // another request may follow on the client's connection
  bool client_gone = false; // in the middle of its body
  bool forwarding = false;  // the request was allowed and is under way
  bool cut = false;         // policy has changed against it since

  AccessVerdict verdict = AccessVerdict::kError; // without what `cut` makes of it
  std::string_view reason;
};

} // namespace weir::session
