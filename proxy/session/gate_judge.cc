#include "proxy/session/gate_judge.h"

#include <utility>

namespace weir::session {
namespace {

AccessRecord::Peer peer(const endpoint::Endpoint* pod, const SocketAddress& address) {
  AccessRecord::Peer peer;
  if (pod != nullptr) {
    peer.peer_namespace = pod->endpoint_namespace;
    peer.pod = pod->name;
  }
  peer.ip = address.ip;
  peer.port = address.port;
  return peer;
}

} // namespace

GateJudge::GateJudge(std::unique_ptr<PolicyGate> gate, TcpFlow flow, bool answer_denied_flows)
    : x_gate(std::move(gate)), x_flow(flow), x_answer_denied_flows(answer_denied_flows) {}

bool GateJudge::refresh() {
  x_gate->refresh();
  switch (x_gate->verdict()) {
  case policy::Verdict::kAllow:
    return true;
  case policy::Verdict::kRedirect:
    return x_gate->protocol() == policy::L7Protocol::kHttp;
  case policy::Verdict::kDeny:
    break;
  }
  return x_answer_denied_flows;
}

policy::L7Decision GateJudge::judge(const policy::HttpRequest& request) const {
  return x_gate->judge_http(request);
}

std::string GateJudge::nearest(const policy::HttpRequest& request) const {
  return x_gate->nearest_http(request);
}

HttpJudge::Labels GateJudge::labels() const { return flow_labels(*x_gate, x_flow); }

HttpJudge::Labels flow_labels(const PolicyGate& gate, const TcpFlow& flow) {
  HttpJudge::Labels labels;
  labels.direction = gate.direction();
  labels.source = peer(gate.source(), flow.client.value);
  labels.destination = peer(gate.destination(), {flow.destination.value.ip, flow.port});
  return labels;
}

} // namespace weir::session
