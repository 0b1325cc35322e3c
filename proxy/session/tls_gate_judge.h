// TlsJudge by a PolicyGate.
#pragma once

#include "proxy/session/policy_gate.h"
#include "proxy/session/tcp_handlers.h"
#include "proxy/session/tls_judge.h"

#include <memory>
#include <utility>

namespace weir::session {

class GateTlsJudge final : public TlsJudge {
public:
  GateTlsJudge(std::unique_ptr<PolicyGate> gate, TcpFlow flow)
      : x_gate(std::move(gate)), x_flow(flow) {}

  Need refresh() override;
  [[nodiscard]] policy::L7Decision
  judge(std::optional<std::string_view> server_name) const override;
  void describe(AccessRecord& record) const override;

private:
  std::unique_ptr<PolicyGate> x_gate;
  const TcpFlow x_flow;
};

} // namespace weir::session
