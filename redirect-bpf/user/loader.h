// The BPF object in the kernel: its programs, and its maps as pinned or new. Loads and pins; fills
// and attaches nothing.
//
// Control thread. Errors: the kernel's; a pinned map of another shape under this ABI version is
// one, because its content cannot be trusted.
#pragma once

#include "proxy/base/result.h"

#include <cstdint>
#include <memory>
#include <string>

struct redirect_tc; // the generated skeleton

namespace weir::redirect {

// Entries. A map that is pinned already keeps the size it has.
struct MapSizes {
  std::uint32_t addresses = 4096; // of pods of this node
  std::uint32_t endpoints = 2048;
  std::uint32_t learned = 65536;        // pairs of pod and address
  std::uint32_t flows = 131072;         // also to services
  std::uint32_t services = 16384;       // addresses, and ports of them
  std::uint32_t backends = 65536;       // of all services together
  std::uint32_t returns = 65536;        // connections that the proxy has opened
  std::uint32_t event_bytes = 1u << 20; // a power of two
};

struct Maps {
  int config = -1, endpoints = -1, bridges = -1, interfaces = -1, births = -1, names = -1,
      identities = -1, policies = -1, learned = -1, conntrack = -1, returns = -1, services = -1,
      backends = -1, members = -1, translations = -1, listeners = -1, counters = -1, drops = -1,
      events = -1;
};

struct Programs {
  int from_pod = -1, to_pod = -1, from_net = -1, from_ports = -1, to_net = -1, to_socket = -1,
      reopen = -1, find_netns = -1;
};

class BpfObject {
public:
  // `folder`: where the maps are or will be pinned; it exists.
  static Result<BpfObject> load(const std::string& folder, const MapSizes& sizes);

  // Descriptors; they live as long as this object.
  [[nodiscard]] const Maps& maps() const { return x_maps; }
  [[nodiscard]] const Programs& programs() const { return x_programs; }

private:
  struct Destroy {
    void operator()(redirect_tc* skeleton) const;
  };

  std::unique_ptr<redirect_tc, Destroy> x_skeleton;
  Maps x_maps;
  Programs x_programs;
};

} // namespace weir::redirect
