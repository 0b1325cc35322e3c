#include "proxy/session/tls_gate_judge.h"

#include "proxy/session/gate_judge.h"

namespace weir::session {
namespace {

// Rules of another protocol cannot be satisfied by a connection that is read as TLS.
bool wants_another_protocol(const PolicyGate& gate) {
  return gate.verdict() == policy::Verdict::kRedirect &&
         gate.protocol() != policy::L7Protocol::kTls;
}

} // namespace

TlsJudge::Need GateTlsJudge::refresh() {
  x_gate->refresh();
  switch (x_gate->verdict()) {
  case policy::Verdict::kAllow:
    return Need::kNothing;
  case policy::Verdict::kRedirect:
    return wants_another_protocol(*x_gate) ? Need::kDeny : Need::kServerName;
  case policy::Verdict::kDeny:
    break;
  }
  return Need::kDeny;
}

policy::L7Decision GateTlsJudge::judge(std::optional<std::string_view> server_name) const {
  // Rules that look inside TLS may have come for the port, and may still let this name pass.
  const bool settled =
      !wants_another_protocol(*x_gate) ||
      (x_gate->asks_for_tls() &&
       x_gate->client_speaks_tls(server_name ? std::optional<std::string>(*server_name)
                                             : std::nullopt) &&
       x_gate->tls_terms().unread);
  if (!settled) {
    return {false, &policy::default_deny(), "protocol"};
  }
  return x_gate->judge_sni(server_name);
}

void GateTlsJudge::describe(AccessRecord& record) const {
  const HttpJudge::Labels labels = flow_labels(*x_gate, x_flow);
  record.direction = labels.direction;
  record.source = labels.source;
  record.destination = labels.destination;
}

} // namespace weir::session
