// Loses packets that leave a pod. The program is gone with the object.
#pragma once

#include "test/support/netns.h"

#include <cstdint>
#include <string>

struct packet_loss; // the generated skeleton

namespace weir::test {

class PacketLoss {
public:
  PacketLoss(const NetNs& where, const std::string& interface);
  PacketLoss(const PacketLoss&) = delete;
  PacketLoss& operator=(const PacketLoss&) = delete;
  ~PacketLoss();

  void lose_per_thousand(std::uint32_t packets);
  // The next so many acknowledgements that carry nothing (IPv4).
  void lose_acks(std::uint32_t packets);
  [[nodiscard]] std::uint32_t lost() const;

private:
  packet_loss* x_skeleton;
  int x_link;
};

} // namespace weir::test
