// DNS names against the patterns of rules.dns, toFQDNs and serverNames. Works on labels, never on
// joined text: "www\.good.com" is two labels and matches no pattern for "www.good.com".
//
// `*` is any number of letters, digits, `-` and `_` within one label; a leading `**.` is one or
// more whole labels; only stars (and a dot) is every name.
#pragma once

#include "proxy/base/dns_name.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

// A server's name as clients write it into requests and ClientHellos, without port: dots separate
// labels and nothing is escaped. Nothing when it has other characters than those above, an empty
// label or a dot at its end.
[[nodiscard]] std::optional<DnsName> server_name(std::string_view text);
// The same of a request's host, which may have a port.
[[nodiscard]] std::optional<DnsName> host_name(std::string_view host);

class NameMatcher {
public:
  // Any case, with or without a trailing dot. Text that can match no name matches none.
  static NameMatcher literal(std::string_view name);
  static NameMatcher pattern(std::string_view pattern);

  [[nodiscard]] bool matches(const DnsName& name) const;
  // A TLS server name as the client sent it; dots separate labels and nothing is escaped.
  [[nodiscard]] bool matches_server_name(std::string_view name) const;
  [[nodiscard]] bool is_literal() const { return x_kind == Kind::kLiteral; }
  [[nodiscard]] const DnsName& name() const { return x_name; } // of a literal

private:
  enum class Kind { kNever, kAll, kLiteral, kPattern };

  Kind x_kind = Kind::kNever;
  DnsName x_name;
  std::vector<std::string> x_labels; // patterns of the last labels
  bool x_any_prefix = false;         // one or more further labels before them
};

} // namespace weir::policy
