// Interfaces that have just appeared, as the kernel half judges them (bpf/births.h): which have
// their programs, and which are no pods'. Attaches nothing.
//
// Control thread. Errors: the kernel's.
#pragma once

#include "proxy/base/result.h"
#include "redirect-bpf/user/interfaces.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir::redirect {

// Interfaces that lead to other namespaces and are no pods'.
struct OtherInterfaces {
  std::set<std::string> uplinks;
  std::vector<std::string> names; // a `*` at the end stands for any rest

  [[nodiscard]] bool contains(const std::string& name) const;
};

class BirthSync {
public:
  struct MapFds {
    int interfaces = -1, births = -1, names = -1;
  };
  explicit BirthSync(MapFds maps) : x_maps(maps) {}

  // The network namespace of the calling thread is the node's. `find_netns`: the program.
  Result<void> begin(int find_netns);

  // The interface has its programs: what comes by it has met them.
  Result<void> add(int index, std::uint64_t serial);
  // It may be without them, as they could not be attached.
  void remove(int index);
  // Forgets those that are gone, as the kernel does.
  void forget_missing(const std::map<int, Interface>& present);

  // From now on what comes by an interface that was not added is held where the packet says to be
  // from a pod of this node, or the interface has the name of one's (`pods`); and, where there are
  // `others`, wherever it is a veth that these do not name. Only when all interfaces that are there
  // were added.
  Result<void> hold(const std::set<std::string>& pods, const OtherInterfaces* others);

private:
  using Names = std::map<std::string, std::uint32_t>; // enum weir_name_of
  Result<void> write_names(const Names& names);

  MapFds x_maps;
  std::map<int, std::uint64_t> x_added; // serial by index
  std::optional<Names> x_names;         // what weir_names holds; nothing: not known
};

} // namespace weir::redirect
