// A second opinion: what the language says of one flow, read off the policies rule by rule with no
// tables, sets or rows. Slow, plain, and sharing nothing with the compiler but the model.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"

#include <optional>
#include <string>
#include <vector>

namespace weir::policy::test {

// Whoever is at the other end.
struct ReferencePeer {
  Labels labels;                    // with sources; outside addresses have world's
  std::optional<IpAddress> outside; // set: no pod and no reserved identity
  std::vector<std::string> names;   // that were learned for the address; lower case, no dot
  std::vector<NamedPort> ports;     // of the peer, for egress
};

struct ReferenceVerdict {
  Verdict verdict = Verdict::kAllow;
  L7Protocol protocol = L7Protocol::kNone;
  bool enforced = false;
};

class Reference {
public:
  explicit Reference(const CompileInput& input) : x_input(input) {}

  [[nodiscard]] ReferenceVerdict decide(const EndpointInput& endpoint, const ReferencePeer& peer,
                                        Direction direction, std::uint8_t protocol,
                                        std::uint16_t port) const;
  // Of a flow that is redirected for HTTP.
  struct Request {
    std::string method, path, host;
  };
  [[nodiscard]] bool http(const EndpointInput& endpoint, const ReferencePeer& peer,
                          Direction direction, std::uint16_t port, const Request& request) const;

private:
  const CompileInput& x_input;
};

} // namespace weir::policy::test
