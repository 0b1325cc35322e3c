// The Redirector that enforces: BPF programs, pinned maps and links, routes. A new process adopts
// what an older one left and replaces it piece by piece; destroying this object takes nothing
// away, so that policy holds while nobody is there to compute it (cleanup.h takes it away).
//
// How apply() changes policy. Identities, policies and flags exist twice (weir_abi.h, weir_config):
//
//   1. tries of policies that differ are built, unseen; equal ones are shared by both slots
//   2. the slot that is not in use gets them, and its identities what they lack; what is gone from
//      it is removed
//   3. addresses are written to weir_endpoints: the unused slot's flags as wanted, the used one's
//      as they are, or HELD where the address is new or another pod's now
//   4. the revision is raised by one: every packet from here on meets the new state, whole
//   5. addresses, learned addresses and tries of pods that are gone are removed
//   6. interfaces get their programs, pods' first (interface_sync.h)
//
// Until 4 nothing has changed for anybody but new addresses, which are held; after 4 nothing of the
// old state decides. So no packet meets a mixture, and a failure before 4 leaves the old state.
// A policy that cannot be built leaves its endpoint with the old one where the identities are the
// old ones too, and else held: old rows under new identities could miss a deny.
// Map-in-map writes wait until running programs are done, so no packet sees a slot being filled.
//
// An interface that appears later gets its programs when its notification is read: the control
// thread must poll netlink_fd(). Until then the others' programs hold it (births.h).
//
// Owner and thread: control, which also polls the descriptors. learn(), set_learned(),
// last_used_ns(), backend_of(), attached(), attach_mode(), acceleration() and leave_acceleration()
// may be called by any thread. All in the node's network namespace.
#pragma once

#include "redirect-bpf/user/acceleration_switch.h"
#include "redirect-bpf/user/identity_sync.h"
#include "redirect-bpf/user/interface_sync.h"
#include "redirect-bpf/user/learned_map.h"
#include "redirect-bpf/user/loader.h"
#include "redirect-bpf/user/map_sync.h"
#include "redirect-bpf/user/redirector.h"
#include "redirect-bpf/user/service_sync.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

struct ring_buffer;

namespace weir::redirect {

class BpfRedirector final : public Redirector {
public:
  struct Options {
    std::string bpffs = "/sys/fs/bpf";
    bool mount = false; // mount a BPF file system at `bpffs` where there is none
    MapSizes sizes;
    std::optional<AttachMode> attach_mode =
        std::nullopt; // for tests; nothing: the best that the kernel has
  };

  // Loads the programs, adopts or makes the maps, makes the routes. Attaches nothing: programs on
  // interfaces stay what they were until the first apply().
  static Result<std::unique_ptr<BpfRedirector>> open(Options options);
  ~BpfRedirector() override;
  BpfRedirector(const BpfRedirector&) = delete;
  BpfRedirector& operator=(const BpfRedirector&) = delete;

  Result<void> apply(const IdentityRows& identities,
                     std::span<const EndpointState> endpoints) override;
  [[nodiscard]] std::optional<std::uint32_t> first_revision() const override {
    return x_first_revision;
  }
  Result<void> set_services(std::span<const ServiceState> services) override;
  std::optional<SocketAddress> backend_of(const SocketAddress& client,
                                          const SocketAddress& destination,
                                          std::uint8_t protocol) override;
  Result<void> learn(const LearnedAddress& learned) override { return x_learned.learn(learned); }
  Result<void> set_learned(const LearnedAddress& learned) override {
    return x_learned.set(learned);
  }
  std::vector<LearnedAddress> list_learned() override { return x_learned.list(); }
  std::uint64_t last_used_ns(std::uint32_t endpoint, const IpAddress& address) override {
    return x_learned.last_used_ns(endpoint, address);
  }
  // Flows that are redirected already are looked at again, so that those whose proxy is gone get
  // an answer (RST) and do not hang.
  Result<void> set_listeners(std::span<const WorkerListeners> workers) override;
  Result<void> clear_listeners() override;
  Result<void> hold_new_pods(OtherInterfaces others) override;
  Result<void> end_holds(std::chrono::steady_clock::time_point begun) override;
  Result<Counters> counters() override;
  std::vector<MapUse> map_use() override;
  Result<void> set_acceleration(bool enabled) override {
    return x_acceleration.set_enabled(enabled);
  }
  AccelerationState acceleration() override { return x_acceleration.state(); }
  bool leave_acceleration(int socket) override { return x_acceleration.leave(socket); }
  bool attached(const std::string& interface) override { return x_interfaces.attached(interface); }
  [[nodiscard]] std::string_view attach_mode() const override {
    return name_of(x_interfaces.mode());
  }

  // Readable when interfaces have come or gone; then call handle_netlink().
  [[nodiscard]] int netlink_fd() const { return x_interfaces.fd(); }
  Result<void> handle_netlink();

  // Readable when there are events.
  [[nodiscard]] int event_fd() const;
  // Those that wait, oldest first; `most` when there may be more. Until the next call.
  std::span<const weir_event> read_events(std::size_t most);

private:
  using Address = IpAddress::Bytes;
  // What a slot holds, by endpoint. A null trie: not known, from before this process.
  using Slot = std::map<std::uint32_t, TriePtr>;
  struct Wanted {
    std::uint16_t flags = 0;
    std::uint32_t identity = 0;
    std::string interface;
    TriePtr policy; // null: held, or not enforced at all
    std::vector<Address> addresses;
  };
  using WantedEndpoints = std::map<std::uint32_t, Wanted>;

  BpfRedirector(Options options, BpfObject object, Interfaces interfaces, Attachments attachments);
  Result<void> adopt();

  // The steps of apply(); `errors` collects what concerns single endpoints.
  WantedEndpoints plan(std::span<const EndpointState> endpoints, bool same_identities,
                       std::vector<std::string>& errors);
  bool differs(const WantedEndpoints& wanted) const;
  Result<void> fill_slot(std::uint32_t slot, const WantedEndpoints& wanted,
                         std::vector<std::string>& errors);
  void write_endpoints(const WantedEndpoints& wanted, std::uint32_t used_slot, bool flipping,
                       std::vector<std::string>& errors);
  Result<void> write_config(std::uint32_t revision, std::uint32_t workers);
  void remove_gone(const WantedEndpoints& wanted);
  void attach_interfaces(std::vector<std::string>& errors);

  Options x_options;
  BpfObject x_object;
  InterfaceSync x_interfaces;
  IdentitySync x_identities;
  LearnedMap x_learned;
  ServiceSync x_services;
  AccelerationSwitch x_acceleration;
  UniqueFd x_reopen;
  std::unique_ptr<ring_buffer, void (*)(ring_buffer*)> x_events;
  std::vector<weir_event> x_taken_events;
  std::size_t x_most_events = 0;

  weir_config x_config{};
  Slot x_policies[WEIR_SLOTS];
  std::map<Address, weir_endpoint> x_endpoints;           // what weir_endpoints holds
  std::map<std::uint32_t, std::string> x_interface_names; // by endpoint
  std::optional<std::uint32_t> x_first_revision; // nothing: apply() has put nothing in force yet
};

} // namespace weir::redirect
