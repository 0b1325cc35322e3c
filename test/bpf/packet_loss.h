// Loses packets that leave a pod, or that come in. What it put there is gone with the object.
#pragma once

#include "test/support/netns.h"

#include <cstdint>
#include <string>

struct packet_loss; // the generated skeleton

namespace weir::test {

class PacketLoss {
public:
  enum class Way { kOut, kIn };

  // `where`, whose interface has no clsact, outlives it.
  PacketLoss(const NetNs& where, std::string interface, Way way);
  PacketLoss(const PacketLoss&) = delete;
  PacketLoss& operator=(const PacketLoss&) = delete;
  ~PacketLoss();

  void lose_per_thousand(std::uint32_t packets);
  // The next so many acknowledgements that carry nothing (IPv4).
  void lose_acks(std::uint32_t packets);
  [[nodiscard]] std::uint32_t lost() const;

private:
  const NetNs& x_where;
  const std::string x_interface;
  packet_loss* x_skeleton;
};

} // namespace weir::test
