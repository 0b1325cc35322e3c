// Who decides about one TLS or plain TCP connection: the policy gate in production, a table in
// tests. Keeps the session free of snapshots and endpoints.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/access_record.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::session {

class TlsJudge {
public:
  virtual ~TlsJudge() = default;

  // What the newest policy wants of this connection.
  enum class Need : std::uint8_t {
    kDeny,      // it may not be
    kNothing,   // allowed as it is, whatever it carries
    kServerName // it must be TLS, and its server name decides
  };
  // Takes the newest policy.
  virtual Need refresh() = 0;

  // By the policy that refresh() took; nullopt: the client named no server. Not allowed where
  // refresh() gave kDeny. The rule lives until the next refresh().
  [[nodiscard]] virtual policy::L7Decision
  judge(std::optional<std::string_view> server_name) const = 0;

  // Fills in the direction and both ends. The views live until the next refresh().
  virtual void describe(AccessRecord& record) const = 0;
};

} // namespace weir::session
