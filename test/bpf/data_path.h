// The BPF object in the kernel with maps of its own, filled by hand: for tests that give its
// programs one packet at a time. Everything it made is gone when it is destroyed. Needs root.
//
// Two pods on interface 1: A (10.1.0.1, fd00:1::1; endpoint 11, identity 301) and B (10.1.0.2,
// fd00:1::2; endpoint 12, identity 302). Everybody else is the world.
#pragma once

#include "redirect-bpf/user/loader.h"
#include "redirect-bpf/user/map_sync.h"
#include "test/bpf/policy_rows.h"
#include "test/support/bpf_runner.h"
#include "test/support/packet_builder.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct ring_buffer;

namespace weir::test {

inline constexpr int kNext = -1, kPass = 0, kShot = 2;
inline constexpr std::uint32_t kA = 11, kB = 12, kIdentityA = 301, kIdentityB = 302;

struct Family {
  std::string_view a, b, world;
  std::uint32_t world_identity;
  bool v6;
};
inline constexpr Family kFamilies[] = {
    {"10.1.0.1", "10.1.0.2", "192.0.2.9", WEIR_IDENTITY_WORLD_IPV4, false},
    {"fd00:1::1", "fd00:1::2", "2001:db8::9", WEIR_IDENTITY_WORLD_IPV6, true},
};

inline constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10, kUrg = 0x20;
inline constexpr std::uint8_t kSynAck = kSyn | kAck;
inline constexpr auto kIngress = WEIR_ENDPOINT_INGRESS_ENFORCED;
inline constexpr auto kEgress = WEIR_ENDPOINT_EGRESS_ENFORCED;

using Rows = std::vector<redirect::PolicyRow>;

inline PacketBuilder tcp(std::string_view from, std::string_view to, std::uint16_t source_port,
                         std::uint16_t port, std::uint8_t flags) {
  return PacketBuilder(from, to).tcp(source_port, port, flags);
}
inline PacketBuilder udp(std::string_view from, std::string_view to, std::uint16_t source_port,
                         std::uint16_t port) {
  return PacketBuilder(from, to).udp(source_port, port);
}

class DataPath {
public:
  explicit DataPath(std::uint32_t flows = 4096); // room in weir_conntrack
  ~DataPath();
  DataPath(const DataPath&) = delete;
  DataPath& operator=(const DataPath&) = delete;

  // Flags are WEIR_ENDPOINT_*; rows nothing: no inner map.
  void set_policy(std::uint32_t endpoint, std::uint16_t flags,
                  const std::optional<std::vector<redirect::PolicyRow>>& rows);
  // As apply() would: the other slot, and the revision raised.
  void change_policy(std::uint32_t endpoint, std::uint16_t flags,
                     const std::optional<std::vector<redirect::PolicyRow>>& rows);
  // The endpoint's addresses are those of a new one from here on.
  void replace(std::uint32_t endpoint, std::uint32_t by, std::uint16_t flags,
               const std::optional<std::vector<redirect::PolicyRow>>& rows);
  void set_interface(std::uint32_t endpoint, std::uint32_t interface);
  void learn(std::uint32_t endpoint, std::string_view address, std::uint64_t groups,
             std::uint64_t expires_ns);
  std::uint64_t last_used_ns(std::uint32_t endpoint, std::string_view address);
  void forget_flows(); // the proxy's as well

  BpfRun from_pod(const PacketBuilder& packet, std::uint32_t mark = 0, int runs = 1);
  // `came_by`: the interface that the packet entered the node by; 0: it is the node's own.
  BpfRun to_pod(const PacketBuilder& packet, std::uint32_t mark = 0, std::uint32_t came_by = 0);
  BpfRun from_net(const PacketBuilder& packet, std::uint32_t mark = 0);
  BpfRun from_ports(const PacketBuilder& packet);
  BpfRun to_net(const PacketBuilder& packet, std::uint32_t mark = 0, std::uint32_t came_by = 0);

  // For what has to be written as the process would.
  [[nodiscard]] const redirect::Maps& maps() const { return x_object->maps(); }

  std::uint64_t drops(weir_drop reason, weir_direction direction);
  std::uint64_t count(weir_counter counter);
  // Since the last call.
  std::vector<weir_event> events();

private:
  struct Pod {
    std::uint32_t id, identity;
    std::string_view v4, v6;
    std::uint32_t interface = 1;
    std::uint16_t flags[WEIR_SLOTS] = {};
    std::vector<redirect::TriePtr> tries = {};
  };
  Pod& pod(std::uint32_t id);
  void write(Pod& pod, std::uint32_t slot, std::uint16_t flags,
             const std::optional<std::vector<redirect::PolicyRow>>& rows);
  std::uint64_t sum(int map, std::uint32_t index);

  std::string x_bpffs;
  std::optional<redirect::BpfObject> x_object;
  UniqueFd x_identities;
  std::vector<Pod> x_pods;
  std::uint32_t x_revision = 0;
  std::unique_ptr<ring_buffer, void (*)(ring_buffer*)> x_ring;
  std::vector<weir_event> x_events;
};

} // namespace weir::test
