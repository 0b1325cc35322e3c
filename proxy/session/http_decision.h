// May this request proceed? Between its head, as it was read, and the head that the server is
// sent: strict checks, the canonical target, policy.
#pragma once

#include "proxy/session/http_exchange.h"
#include "proxy/session/http_judge.h"
#include "proxy/session/http_service.h"
#include "proxy/session/read_buffer.h"

#include <cstdint>
#include <string_view>

namespace weir::session {

enum class Action : std::uint8_t {
  kForward, // request_out and first_part are what the server is to be sent
  kAnswer,  // weir answers, as the exchange says
  kReset,   // the whole connection may not go on
};

// `received` begins with the request's body, and loses as much of it as is there. default_host:
// what a request of HTTP/1.0 without a Host field means, in canonical form.
[[nodiscard]] Action decide(HttpService& service, HttpJudge& judge, std::string_view default_host,
                            ReadBuffer& received, HttpExchange& exchange);

} // namespace weir::session
