// Why was a request refused, in words for whoever sent it: the rule that came nearest, and what it
// asks for. Never what a header has to hold: that may be a password.
#pragma once

#include "policy-compiler/runtime/http_matcher.h"
#include "policy-compiler/runtime/program.h"

#include <optional>
#include <string>
#include <string_view>

namespace weir::policy {

// "method `GET` is allowed by shop/api ingress rule 2, path `/x` is not (it asks for `/y`)". Empty
// when no rule is about requests at all. Some hundred bytes, whatever the request and rules hold;
// the request's own bytes stand in it as they are. Allocates.
[[nodiscard]] std::string near_request(const FlowDecision& flow, const HttpRequest& request);

// Of a request or a server name (nothing: the client sent none) that the rule would accept if it
// carried a name that the rule opens the address for.
[[nodiscard]] std::string near_name(const RuleRef& rule, std::optional<std::string_view> name);

// The same of one rule: `fit` is that of a request which it does not accept.
[[nodiscard]] std::string near_request(const RuleRef& rule, const HttpMatcher::Fit& fit,
                                       const HttpRequest& request);

// "shop/api ingress rule 2"; of a rule that no policy wrote, its label.
[[nodiscard]] std::string rule_text(const RuleRef& rule);

} // namespace weir::policy
