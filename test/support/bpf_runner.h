// Runs a tc program on a packet, without a network: BPF_PROG_TEST_RUN. Needs root.
#pragma once

#include "test/support/packet_builder.h"

#include <cstdint>

namespace weir::test {

struct BpfRun {
  int action = 0;                // what the program returned
  std::uint32_t mark = 0;        // of the packet afterwards
  std::uint32_t nanoseconds = 0; // of one run, on average
};

// The packet is on interface `interface`, which exists (1 is loopback) in the calling thread's
// network namespace, and has come in by `came_by` (0: the machine sends it). Throws when the kernel
// does not run it.
BpfRun run_tc_program(int program, const Bytes& packet, std::uint32_t mark = 0,
                      std::uint32_t interface = 1, std::uint32_t came_by = 0, int runs = 1);

} // namespace weir::test
