// Who decides about the requests of one connection: the policy gate in production, a table in
// tests. Keeps HTTP sessions free of snapshots and endpoints.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/access_record.h"

#include <string>
#include <string_view>

namespace weir::session {

class HttpJudge {
public:
  virtual ~HttpJudge() = default;

  // Takes the newest policy. False: this connection may not go on at all (its flow is denied, or
  // is to speak another protocol now). Called before each request.
  virtual bool refresh() = 0;

  // By the policy that refresh() took. The rule lives until the next refresh().
  [[nodiscard]] virtual policy::L7Decision judge(const policy::HttpRequest& request) const = 0;

  // Of a request that judge() refused: what came nearest to allowing it, in words; empty: nothing.
  [[nodiscard]] virtual std::string nearest(const policy::HttpRequest& /*request*/) const {
    return {};
  }

  // Both ends and the direction, for the log; valid until the next refresh().
  struct Labels {
    std::string_view direction;
    AccessRecord::Peer source, destination;
  };
  [[nodiscard]] virtual Labels labels() const = 0;
};

} // namespace weir::session
