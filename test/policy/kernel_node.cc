#include "test/policy/kernel_node.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "test/support/bpf_runner.h"
#include "test/support/packet_builder.h"

#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace weir::policy::test {
namespace {

constexpr redirect::MapSizes kSizes{.addresses = 64,
                                    .endpoints = 32,
                                    .learned = 1024,
                                    .flows = 16384,
                                    .returns = 64,
                                    .event_bytes = 1u << 16};
constexpr std::uint32_t kTtl = 3600;

std::string port_text(const NamedPort& port) {
  return "{name: " + port.name + ", port: " + std::to_string(port.port) +
         ", protocol: " + (port.protocol == IPPROTO_TCP ? "TCP" : "UDP") + "}";
}

int rank(Verdict verdict) {
  return verdict == Verdict::kDeny ? 2 : verdict == Verdict::kRedirect ? 1 : 0;
}

template <typename Value>
Value must(Result<Value> result) {
  if (!result) {
    throw std::runtime_error(result.error().text());
  }
  return std::move(*result);
}

} // namespace

KernelNode::KernelNode()
    : x_bpffs(redirect::find_bpffs().value_or("/sys/fs/bpf") + "/" + weir::test::unique_name()),
      x_events(nullptr, &ring_buffer__free) {
  x_namespace.ip({"link set lo up"});
  for (const Somebody& peer : x_world.peers) {
    if (peer.reference.outside) {
      x_outside.push_back(peer);
    }
  }
  for (const char* folder : {"policies", "cluster", "state"}) {
    std::filesystem::create_directory(x_folder.file(folder));
  }
  x_config.node.name = "node-a";
  x_config.policies.directory = x_folder.file("policies");
  x_config.endpoints.file = x_folder.file("cluster/endpoints.yaml");
  x_config.state.directory = x_folder.file("state");
  x_config.dns.observe = false; // else the kernel redirects questions that Program allows
  write_cluster();
  list_flows();
  x_redirector = must(x_namespace.on_thread([&] {
    return redirect::BpfRedirector::open({.bpffs = x_bpffs, .mount = true, .sizes = kSizes});
  }));
  x_cache.emplace(*x_redirector, dns::FqdnCacheOptions{});
  x_controller.emplace(x_context, x_config, *x_redirector, *x_cache,
                       std::vector<runtime::Worker*>{});
  x_programs.emplace(must(redirect::BpfObject::load(redirect::pin_folder(x_bpffs), kSizes)));
  auto take = [](void* self, void* data, std::size_t /*size*/) {
    static_cast<KernelNode*>(self)->x_reason = static_cast<const weir_event*>(data)->reason;
    return 0;
  };
  x_events.reset(ring_buffer__new(x_programs->maps().events, take, this, nullptr));
  if (x_events == nullptr) {
    throw std::runtime_error("ring buffer");
  }
}

KernelNode::~KernelNode() {
  x_events.reset();
  x_programs.reset();
  x_controller.reset();
  x_cache.reset();
  x_redirector.reset();
  x_namespace.on_thread([this] { (void)redirect::cleanup(x_bpffs); });
  ::rmdir(x_bpffs.c_str());
}

void KernelNode::write_cluster() {
  std::string text = "endpoints:\n";
  for (std::size_t i = 0; i < x_world.input.endpoints.size(); ++i) {
    const EndpointInput& endpoint = x_world.input.endpoints[i];
    const std::string name = endpoint.name + std::to_string(i);
    const std::string number = std::to_string(i + 1);
    End end{endpoint.endpoint_namespace + "/" + name, *IpAddress::parse("172.20.0." + number),
            *IpAddress::parse("fd00:20::" + number)};
    text += "  - {name: " + name + ", namespace: " + endpoint.endpoint_namespace +
            ", interface: lo, ips: [" + end.v4.to_string() + ", \"" + end.v6.to_string() +
            "\"], labels: {";
    for (const auto& [key, value] : *x_world.input.identities[i].labels) {
      if (key == "k8s:app" || key == "k8s:tier") {
        text += key.substr(4) + ": " + value + ", ";
      }
    }
    text += "}, namedPorts: [";
    for (const NamedPort& port : endpoint.named_ports) {
      text += port_text(port) + ", ";
    }
    text += "]}\n";
    x_pods.push_back(std::move(end));
  }
  text += "nodes:\n  - {name: node-a, ips: [172.31.0.1]}\n  - {name: node-b, ips: [172.31.0.2]}\n";
  x_folder.write("cluster/endpoints.yaml", text);
}

void KernelNode::list_flows() {
  std::vector<End> away;
  for (const Somebody& peer : x_outside) {
    away.push_back({"", *peer.reference.outside, *peer.reference.outside});
  }
  for (const char* node : {"172.31.0.1", "172.31.0.2"}) {
    away.push_back({"", *IpAddress::parse(node), *IpAddress::parse(node)});
  }
  const auto add = [&](const End& from, const End& to, bool is_v6) {
    for (const Asked& what : kFlows) {
      const bool icmp = what.protocol == IPPROTO_ICMP || what.protocol == IPPROTO_ICMPV6;
      // A reply opens no flow whatever policy says.
      if (icmp && (what.port == 0 || (what.protocol == IPPROTO_ICMPV6) != is_v6)) {
        continue;
      }
      x_flows.push_back({from, to, is_v6, what});
    }
  };
  for (const End& pod : x_pods) {
    for (const End& other : away) {
      add(pod, other, !other.v4.is_v4());
      if (other.v4.to_string() != "172.31.0.1") { // the node itself comes by no network
        add(other, pod, !other.v4.is_v4());
      }
    }
    for (const End& other : x_pods) {
      if (other.name != pod.name) {
        add(pod, other, false);
        add(pod, other, true);
      }
    }
  }
}

void KernelNode::put_in_force(const std::vector<std::string>& policies) {
  for (const auto& entry : std::filesystem::directory_iterator(x_config.policies.directory)) {
    std::filesystem::remove(entry.path());
  }
  for (std::size_t i = 0; i < policies.size(); ++i) {
    x_folder.write("policies/p" + std::to_string(i) + ".yaml", policies[i]);
  }
  x_namespace.on_thread([this] { x_controller->reload(); });
  if (const std::string why = x_controller->not_ready(); !why.empty()) {
    throw std::runtime_error(why);
  }
  for (const auto& row : x_controller->view()->policies) {
    if (row.status != "accepted") {
      throw std::runtime_error(row.message);
    }
  }
}

void KernelNode::learn_names() {
  const auto in_force = x_controller->in_force();
  in_force.registry->endpoints().for_each([&](const std::string& /*name*/, const auto& pod) {
    const EndpointPolicy* policy = in_force.program->find(pod->id);
    for (const Somebody& peer : x_outside) {
      for (const DnsName& name : peer.names) {
        (void)must(x_cache->learn(*policy, pod->id, name, kTtl, {*peer.reference.outside}));
      }
    }
  });
}

Verdict KernelNode::run(const KernelFlow& flow, std::uint16_t source_port,
                        std::uint8_t tcp_flags) const {
  const auto address = [&](const End& end) { return (flow.is_v6 ? end.v6 : end.v4).to_string(); };
  weir::test::PacketBuilder packet(address(flow.from), address(flow.to));
  switch (flow.what.protocol) {
  case IPPROTO_TCP:
    packet.tcp(source_port, flow.what.port, tcp_flags);
    break;
  case IPPROTO_UDP:
    packet.udp(source_port, flow.what.port);
    break;
  case IPPROTO_SCTP:
    packet.sctp(source_port, flow.what.port);
    break;
  default:
    packet.icmp_echo(false, source_port);
    break;
  }
  const redirect::Programs& programs = x_programs->programs();
  x_reason = WEIR_DROP_NONE;
  const int action =
      weir::test::run_tc_program(flow.from.name.empty() ? programs.from_net : programs.from_pod,
                                 packet.build())
          .action;
  ring_buffer__consume(x_events.get());
  constexpr int kNext = -1;
  return action == kNext                  ? Verdict::kAllow
         : x_reason == WEIR_DROP_NO_PROXY ? Verdict::kRedirect
                                          : Verdict::kDeny;
}

Verdict KernelNode::kernel(const KernelFlow& flow, std::uint16_t source_port) const {
  return run(flow, source_port, 0x02);
}

Verdict KernelNode::kernel_later(const KernelFlow& flow, std::uint16_t source_port) const {
  return run(flow, source_port, 0x10);
}

KernelNode::State KernelNode::state() const {
  return {x_controller->in_force(), x_cache->entries()};
}

std::vector<KernelNode::Side> KernelNode::sides(const State& state, const KernelFlow& flow) {
  const endpoint::Registry& registry = *state.in_force.registry;
  const auto address = [&](const End& end) { return flow.is_v6 ? end.v6 : end.v4; };
  std::vector<Side> out;
  const auto add = [&](Direction direction, const End& own, const End& peer) {
    const endpoint::Endpoint* endpoint = registry.by_name(own.name);
    if (endpoint == nullptr) {
      return;
    }
    Side side;
    side.endpoint = endpoint->id;
    side.policy = state.in_force.program->find(endpoint->id);
    side.flow = {direction, registry.identity_of(address(peer)), flow.what.protocol, flow.what.port,
                 0};
    for (const dns::LearnedName& one : state.learned) {
      if (direction == Direction::kEgress && side.policy != nullptr &&
          one.endpoint == endpoint->id && one.address == address(peer)) {
        side.flow.fqdn_groups |= side.policy->fqdn_groups(one.name);
      }
    }
    out.push_back(side);
  };
  add(Direction::kEgress, flow.from, flow.to);
  add(Direction::kIngress, flow.to, flow.from);
  return out;
}

KernelNode::Said KernelNode::program(const State& state, const KernelFlow& flow) {
  Said out;
  for (const Side& side : sides(state, flow)) {
    if (side.policy == nullptr) {
      return {Verdict::kDeny, false};
    }
    const FlowDecision decision = side.policy->decide(side.flow);
    if (rank(decision.verdict) > rank(out.verdict)) {
      out.verdict = decision.verdict;
      out.may_pass_by = side.flow.peer == WEIR_IDENTITY_HOST &&
                        decision.verdict == Verdict::kRedirect && decision.any;
    }
  }
  return out;
}

} // namespace weir::policy::test
