// What one packet of a pod costs in weir_from_pod, by the number of rows that its policy has.
// Prints a table; packet.sh runs it.
#include "test/bpf/data_path.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace weir;
using namespace weir::test;

constexpr std::size_t kRounds = 31;
constexpr int kRuns = 20'000; // of a packet, one after the other

constexpr std::uint16_t kAllowedPort = 443, kDeniedPort = 25;

// As many peers as ports, and one row that the packets meet.
Rows rows_of(std::size_t count, const Family& family) {
  constexpr std::uint32_t kFirstPeer = 1000;
  constexpr std::size_t kPorts = 100;
  Rows rows{row(WEIR_EGRESS, family.world_identity, IPPROTO_TCP, kAllowedPort, WEIR_ALLOW)};
  for (std::size_t i = 1; i < count; ++i) {
    rows.push_back(row(WEIR_EGRESS, static_cast<std::uint32_t>(kFirstPeer + i / kPorts),
                       IPPROTO_TCP, static_cast<std::uint16_t>(1000 + i % kPorts), WEIR_ALLOW,
                       static_cast<std::uint32_t>(i)));
  }
  return rows;
}

struct Packet {
  const char* name;
  std::uint16_t port;
  std::uint8_t flags;
  int action;
};
constexpr Packet kPackets[] = {
    {"of a known flow", kAllowedPort, kAck, kNext},
    {"opens a flow", kAllowedPort, kSyn, kNext},
    {"denied", kDeniedPort, kSyn, kShot},
};

std::uint32_t median(std::vector<std::uint32_t> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const Family& family) {
  constexpr std::size_t kSizes[] = {10, 100, 1'000, 10'000};
  std::vector<std::unique_ptr<DataPath>> paths;
  for (const std::size_t size : kSizes) {
    paths.push_back(std::make_unique<DataPath>());
    paths.back()->set_policy(kA, kEgress, rows_of(size, family));
    // The flow that later packets belong to.
    paths.back()->from_pod(tcp(family.a, family.world, 40'000, kAllowedPort, kSyn));
  }
  for (const Packet& packet : kPackets) {
    std::vector<std::vector<std::uint32_t>> costs(paths.size());
    // In turn, so that what else the machine does is no size's.
    for (std::size_t round = 0; round < kRounds; ++round) {
      for (std::size_t i = 0; i < paths.size(); ++i) {
        const BpfRun run = paths[i]->from_pod(
            tcp(family.a, family.world, 40'000, packet.port, packet.flags), 0, kRuns);
        if (run.action != packet.action) {
          throw std::runtime_error(std::string(packet.name) + ": another verdict than expected");
        }
        costs[i].push_back(run.nanoseconds);
      }
    }
    const std::uint32_t smallest = median(costs[0]);
    std::printf("%-5s %-16s", family.v6 ? "IPv6" : "IPv4", packet.name);
    for (const auto& of_size : costs) {
      const std::uint32_t cost = median(of_size);
      std::printf(" %6u ns %5.2f", cost, static_cast<double>(cost) / smallest);
    }
    std::printf("\n");
  }
}

} // namespace

int main() {
  try {
    std::printf("%-22s %9s %5s %9s %5s %9s %5s %9s %5s\n", "rows of the pod's policy", "10", "",
                "100", "", "1,000", "", "10,000", "");
    for (const Family& family : kFamilies) {
      measure(family);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "packet_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
