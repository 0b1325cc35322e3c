// Words for what a rule asks for and what a flow or request has instead.
#pragma once

#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/http_request.h"
#include "policy-compiler/runtime/program.h"

#include <string>

namespace weir::policy {

// "80/TCP", "8000-8999/UDP", "type 8/ICMP", "any port"
[[nodiscard]] std::string ports_text(std::uint8_t protocol, std::uint16_t first,
                                     std::uint16_t last);

// How near a request comes to one HTTP rule. `matched` of four fields; `failed` is the first that
// does not match, in words with what the rule asks for.
struct HttpMiss {
  unsigned matched = 0;
  std::string allowed; // "method `GET` and path `/a` are"; empty when nothing asked for matches
  std::string failed;  // "path `/x` is not (it asks for `/y`)"
};
[[nodiscard]] HttpMiss http_miss(const HttpRule& rule, const HttpRequest& request);

} // namespace weir::policy
