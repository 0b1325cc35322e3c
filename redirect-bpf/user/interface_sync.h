// The programs of this namespace's interfaces as wanted: pods' get weir_from_pod and weir_to_pod,
// all others but loopback weir_from_net and weir_to_net; a bridge of which all ports are pods' has
// weir_from_ports in place of weir_from_net. New pods' that are held get the pods' programs as
// well: as no address is theirs, these drop everything. Knows interfaces by name, no addresses and
// no policies.
//
// Control thread, which also polls fd(); attached() and mode() may be called by any thread. Errors:
// the kernel's, each for its interface; the others get theirs all the same.
#pragma once

#include "redirect-bpf/user/attachment.h"
#include "redirect-bpf/user/births.h"
#include "redirect-bpf/user/interfaces.h"
#include "redirect-bpf/user/loader.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir::redirect {

class InterfaceSync {
public:
  // What it is given by reference outlives it. Takes over which bridges are known.
  InterfaceSync(Interfaces interfaces, Attachments attachments, const Programs& programs,
                const Maps& maps);

  // The network namespace of the calling thread is the node's.
  Result<void> begin() { return x_births.begin(x_programs.find_netns); }

  // Readable when interfaces have come or gone; then call update(): true when they have.
  [[nodiscard]] int fd() const { return x_interfaces.fd(); }
  Result<bool> update() { return x_interfaces.update(); }
  [[nodiscard]] int index_of(const std::string& name) const { return x_interfaces.index_of(name); }

  // `pods`: the names of all that are pods'. What is there already costs nothing.
  void attach(const std::set<std::string>& pods, std::vector<std::string>& errors);

  // Both take effect with the next attach(). See Redirector.
  void hold_new_pods(OtherInterfaces others) { x_others = std::move(others); }
  bool end_holds(std::chrono::steady_clock::time_point begun); // true: there were some

  [[nodiscard]] bool attached(const std::string& interface);
  [[nodiscard]] AttachMode mode() const { return x_attachments.mode(); }

private:
  struct Hold {
    std::chrono::steady_clock::time_point begun;
    bool ended = false;
  };

  void write_bridges(std::vector<std::string>& errors);
  void follow_holds(const std::set<std::string>& pod_interfaces);
  [[nodiscard]] bool is_held(const Interface& interface) const;
  [[nodiscard]] std::set<int> bridges_of_pods(const std::set<std::string>& pod_interfaces) const;

  Interfaces x_interfaces;
  Attachments x_attachments;
  BirthSync x_births;
  const Programs& x_programs;
  const Maps& x_maps;
  std::map<std::uint32_t, std::uint32_t> x_bridges; // what weir_bridges holds
  std::optional<OtherInterfaces> x_others;          // nothing: new pods are not held
  std::map<std::uint64_t, Hold> x_holds; // by Interface::serial: those taken for a new pod's
  std::mutex x_attached_mutex;
  std::set<std::string> x_attached; // guarded by it
};

} // namespace weir::redirect
