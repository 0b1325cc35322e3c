#include "test/bpf/packet_loss.h"

#include <bpf/libbpf.h>
#include <net/if.h>
#include <packet_loss.skel.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace weir::test {

namespace {

bpf_tc_hook hook_at(const std::string& interface, int points) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(::if_nametoindex(interface.c_str())),
              .attach_point = static_cast<bpf_tc_attach_point>(points));
  return hook;
}

int attach(const std::string& interface, PacketLoss::Way way, int program) {
  bpf_tc_hook hook =
      hook_at(interface, way == PacketLoss::Way::kIn ? BPF_TC_INGRESS : BPF_TC_EGRESS);
  if (const int failed = bpf_tc_hook_create(&hook)) {
    return failed;
  }
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program);
  return bpf_tc_attach(&hook, &options);
}

} // namespace

PacketLoss::PacketLoss(const NetNs& where, std::string interface, Way way)
    : x_where(where), x_interface(std::move(interface)), x_skeleton(packet_loss__open_and_load()) {
  const int failed = x_skeleton == nullptr ? -errno : x_where.on_thread([&] {
    return attach(x_interface, way, bpf_program__fd(x_skeleton->progs.packet_loss));
  });
  if (failed != 0) {
    packet_loss__destroy(x_skeleton);
    throw std::system_error(-failed, std::generic_category(), "attach packet_loss");
  }
}

PacketLoss::~PacketLoss() {
  x_where.on_thread([&] {
    bpf_tc_hook hook = hook_at(x_interface, BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
  });
  packet_loss__destroy(x_skeleton);
}

void PacketLoss::lose_per_thousand(std::uint32_t packets) {
  x_skeleton->bss->loss_per_thousand = packets;
}

void PacketLoss::lose_acks(std::uint32_t packets) { x_skeleton->bss->loss_of_acks = packets; }

std::uint32_t PacketLoss::lost() const { return x_skeleton->bss->lost; }

} // namespace weir::test
