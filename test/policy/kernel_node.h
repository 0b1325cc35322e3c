// A node whose policies are in force in the kernel: weir's own controller reads them from a folder,
// compiles and writes the real maps, and the real programs judge packets of the test
// (BPF_PROG_TEST_RUN), in a network namespace of its own. Pods are those of random_world.h, all on
// the namespace's loopback. Nobody listens, so a packet that is to be redirected is told by the
// reason of its drop. Needs root.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/config/config.h"
#include "proxy/control/controller.h"
#include "proxy/dns/fqdn_cache.h"
#include "redirect-bpf/user/bpf_redirector.h"
#include "redirect-bpf/user/loader.h"
#include "test/policy/random_world.h"
#include "test/support/netns.h"
#include "test/support/temp_folder.h"

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct ring_buffer;

namespace weir::policy::test {

// One end of a flow.
struct End {
  std::string name; // "namespace/name" of a pod; empty: outside
  IpAddress v4, v6; // an outside end has the same in both
};

struct KernelFlow {
  End from, to;
  bool is_v6 = false;
  Asked what{};
};

class KernelNode {
public:
  KernelNode();
  ~KernelNode();
  KernelNode(const KernelNode&) = delete;
  KernelNode& operator=(const KernelNode&) = delete;

  // Makes these the node's policies, one file each, and puts them in force. Throws where weir
  // says that not all is.
  void put_in_force(const std::vector<std::string>& policies);
  // Every pod has asked for every name that an outside address has.
  void learn_names();

  // By the kernel: the first packet of a flow with this source port.
  [[nodiscard]] Verdict kernel(const KernelFlow& flow, std::uint16_t source_port) const;
  // TCP: a later packet of it.
  [[nodiscard]] Verdict kernel_later(const KernelFlow& flow, std::uint16_t source_port) const;

  // What traffic is judged by, and the addresses that are learned, at one time.
  struct State {
    control::Controller::InForce in_force;
    std::vector<dns::LearnedName> learned;
  };
  [[nodiscard]] State state() const;
  // A pod at one end, and the flow as it sees it.
  struct Side {
    const EndpointPolicy* policy = nullptr; // null: the pod is held
    EndpointId endpoint = 0;
    Flow flow;
  };
  [[nodiscard]] static std::vector<Side> sides(const State& state, const KernelFlow& flow);
  // By the Program: the stricter of both ends.
  struct Said {
    Verdict verdict = Verdict::kAllow;
    // The node's own packets do not pass where they could be redirected: the kernel may let pass
    // what would be redirected to the node and then accepted whatever it says.
    bool may_pass_by = false;

    [[nodiscard]] bool agrees(Verdict kernel) const {
      return kernel == verdict || (may_pass_by && kernel == Verdict::kAllow);
    }
  };
  [[nodiscard]] static Said program(const State& state, const KernelFlow& flow);

  // Pods to outside, outside to pods, pods to pods; every port of kFlows that packets can have.
  [[nodiscard]] const std::vector<KernelFlow>& flows() const { return x_flows; }
  [[nodiscard]] const std::vector<Somebody>& outside() const { return x_outside; }

private:
  void write_cluster();
  void list_flows();
  Verdict run(const KernelFlow& flow, std::uint16_t source_port, std::uint8_t tcp_flags) const;

  World x_world;
  std::vector<Somebody> x_outside;
  std::vector<End> x_pods;
  std::vector<KernelFlow> x_flows;

  weir::test::NetNs x_namespace;
  weir::test::TempFolder x_folder;
  std::string x_bpffs;
  config::Config x_config;
  boost::asio::io_context x_context;
  std::unique_ptr<redirect::BpfRedirector> x_redirector;
  std::optional<dns::FqdnCache> x_cache;
  std::optional<control::Controller> x_controller;
  std::optional<redirect::BpfObject> x_programs; // others than the redirector's, on the same maps
  std::unique_ptr<ring_buffer, void (*)(ring_buffer*)> x_events;
  mutable std::uint8_t x_reason = 0; // of the last event
};

} // namespace weir::policy::test
