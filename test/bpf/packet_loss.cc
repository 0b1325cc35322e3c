#include "test/bpf/packet_loss.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <packet_loss.skel.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace weir::test {

namespace {

constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);

} // namespace

PacketLoss::PacketLoss(const NetNs& where, const std::string& interface)
    : x_skeleton(packet_loss__open_and_load()), x_link(-1) {
  if (x_skeleton != nullptr) {
    x_link = where.on_thread([&] {
      return bpf_link_create(bpf_program__fd(x_skeleton->progs.packet_loss),
                             static_cast<int>(::if_nametoindex(interface.c_str())), kTcxEgress,
                             nullptr);
    });
  }
  if (x_link < 0) {
    const int error = errno;
    packet_loss__destroy(x_skeleton);
    throw std::system_error(error, std::generic_category(), "attach packet_loss");
  }
}

PacketLoss::~PacketLoss() {
  ::close(x_link);
  packet_loss__destroy(x_skeleton);
}

void PacketLoss::lose_per_thousand(std::uint32_t packets) {
  x_skeleton->bss->loss_per_thousand = packets;
}

void PacketLoss::lose_acks(std::uint32_t packets) { x_skeleton->bss->loss_of_acks = packets; }

std::uint32_t PacketLoss::lost() const { return x_skeleton->bss->lost; }

} // namespace weir::test
