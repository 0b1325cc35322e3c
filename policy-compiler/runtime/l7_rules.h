// The matchers of one policy rule's L7 part, and the rule that people know it by. `http` or `dns`
// is in use as `protocol` says; server names stand alone (kTls) or beside `http` and `terminating`.
#pragma once

#include "policy-compiler/runtime/http_matcher.h"
#include "policy-compiler/runtime/name_match.h"
#include "policy-compiler/runtime/program.h"
#include "policy-compiler/runtime/tls_context.h"

#include <memory>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace weir::policy {

// Names to be asked for: literals by look-up, patterns one by one.
class NameMatcherList {
public:
  void add(NameMatcher matcher) {
    if (matcher.is_literal()) {
      x_literals.insert(matcher.name());
    } else {
      x_patterns.push_back(std::move(matcher));
    }
  }
  void add_every_name() { x_every_name = true; }
  [[nodiscard]] bool matches(const DnsName& name) const;

private:
  std::unordered_set<DnsName> x_literals;
  std::vector<NameMatcher> x_patterns;
  bool x_every_name = false;
};

class L7Rules {
public:
  L7Protocol protocol = L7Protocol::kNone;
  const RuleRef* rule = nullptr;
  std::unique_ptr<HttpMatcherList> http;
  NameMatcherList dns;
  std::vector<NameMatcher> server_names;
  // What is judged must carry a name of one of these FQDN groups that its server's address was
  // learned for (weir.io/bind-fqdn); 0: need not.
  std::uint64_t bound_to = 0;
  // The requests are inside TLS that weir ends, and travel on inside TLS that weir begins.
  std::optional<TlsContext> terminating, originating;

  // A client that names no server has none of the names asked for.
  [[nodiscard]] bool names_server(std::optional<std::string_view> name) const;
  // name_groups: as judge_http() has it.
  [[nodiscard]] bool holds_name(std::uint64_t name_groups) const {
    return bound_to == 0 || (bound_to & name_groups) != 0;
  }
};

} // namespace weir::policy
