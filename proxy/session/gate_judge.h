// The policy gate of one connection as the judge of its HTTP requests.
#pragma once

#include "proxy/session/http_judge.h"
#include "proxy/session/policy_gate.h"
#include "proxy/session/tcp_handlers.h"

#include <memory>

namespace weir::session {

class GateJudge final : public HttpJudge {
public:
  // answer_denied_flows: a flow that is denied at L4 gets a 403 for each request instead of a
  // reset. For static listeners, behind which no packet filter has the first word.
  GateJudge(std::unique_ptr<PolicyGate> gate, TcpFlow flow, bool answer_denied_flows);

  bool refresh() override;
  [[nodiscard]] policy::L7Decision judge(const policy::HttpRequest& request) const override;
  [[nodiscard]] std::string nearest(const policy::HttpRequest& request) const override;
  [[nodiscard]] Labels labels() const override;

private:
  std::unique_ptr<PolicyGate> x_gate;
  TcpFlow x_flow;
  bool x_answer_denied_flows;
};

// Both ends of a flow for the log; valid until the gate's next refresh().
HttpJudge::Labels flow_labels(const PolicyGate& gate, const TcpFlow& flow);

} // namespace weir::session
