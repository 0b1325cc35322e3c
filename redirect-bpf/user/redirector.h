// What the control plane asks of the kernel half. Speaks in ABI entries only: knows nothing of
// policies, names or HTTP. Two implementations: BpfRedirector (bpf_redirector.h) and, where no
// BPF is wanted (redirect.mode none, unit tests), NullRedirector.
//
// Thread: control, except learn(), set_learned(), last_used_ns(), backend_of() and acceleration(),
// which any thread may call at any time.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "proxy/base/shared_map.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/births.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::redirect {

using PolicyRow = weir_policy_row;

struct PrefixHash {
  std::size_t operator()(const IpPrefix& prefix) const {
    return std::hash<IpAddress>{}(prefix.address()) * 31 + prefix.mapped_length();
  }
};
// Whose address it is, by prefix: the longest match counts.
using IdentityRows = SharedMap<IpPrefix, std::uint32_t, PrefixHash>;

// One pod of this node. Its policy is `rows`, complete; an empty span with both directions
// enforced is "deny everything".
struct EndpointState {
  std::uint32_t id = 0;
  std::uint32_t identity = 0;
  std::string interface; // host side of the veth; may not exist yet
  std::vector<IpAddress> addresses;
  bool ingress_enforced = false;
  bool egress_enforced = false;
  bool held = false;    // no policy could be computed: drop everything
  bool audited = false; // some policy is only audited: there are rows WEIR_WITHOUT_AUDITED
  bool joined = false;  // its connections with the proxy may be joined (acceleration)
  std::span<const PolicyRow> rows;
};

// One address and port of a service, and where it leads: to addresses of the same family.
struct ServiceState {
  SocketAddress address;
  std::uint8_t protocol = 0;           // IPPROTO_TCP or IPPROTO_UDP
  std::vector<SocketAddress> backends; // none: connections are refused
  std::chrono::seconds affinity{0};    // a client keeps its backend for as long; 0: not
  bool guarded = false;                // leads to a pod of this node whose ingress is enforced
};

struct LearnedAddress {
  std::uint32_t endpoint = 0;
  IpAddress address;
  std::uint64_t groups = 0;     // bit n: FQDN group n of the endpoint
  std::uint64_t expires_ns = 0; // CLOCK_BOOTTIME
};

// Sockets of one worker; -1, or an empty list, where there is none. Owned by the caller.
struct WorkerListeners {
  int tcp4 = -1, tcp6 = -1;
  std::vector<int> udp4, udp6; // each endpoint has one of them; at most WEIR_UDP_LANES
};

struct Counters {
  std::uint64_t packets[WEIR_COUNT_MAX] = {};
  std::uint64_t drops[WEIR_DROP_COUNTERS] = {}; // weir_drop_index()
};

// Joined sockets: acceleration.h.
struct AccelerationState {
  bool enabled = false; // wanted, and at work
  std::string reason;   // why not, where that is known
  std::uint64_t counts[WEIR_JOIN_COUNT_MAX] = {};
};

struct MapUse {
  std::string name;
  std::uint64_t entries = 0;
  std::uint64_t capacity = 0;
};

class Redirector {
public:
  virtual ~Redirector() = default;

  // The whole wanted state. What differs from the kernel's is written in an order in which no
  // moment is more permissive than both the old and the new state: learned groups' bits first
  // gain, then policies are swapped, then the revision is raised, then what is gone is removed.
  // On an error the endpoints concerned keep their old policy or are held; never wider. Identities
  // cost what differs from the last ones.
  virtual Result<void> apply(const IdentityRows& identities,
                             std::span<const EndpointState> endpoints) = 0;

  // The weir_config.revision of what this process's first apply() put in force; what carries an
  // older one is an earlier process's. Nothing before.
  [[nodiscard]] virtual std::optional<std::uint32_t> first_revision() const = 0;

  // All services that enforced pods may call. Running connections keep their backend, also one that
  // is gone; new ones get a present one. A service that cannot be written keeps what it had.
  virtual Result<void> set_services(std::span<const ServiceState> services) = 0;
  // The backend that was chosen for a redirected flow to a service; nothing when it goes to none.
  virtual std::optional<SocketAddress> backend_of(const SocketAddress& client,
                                                  const SocketAddress& destination,
                                                  std::uint8_t protocol) = 0;

  // Before its DNS answer is released. Adds to what is there: groups are joined, the later expiry
  // stays.
  virtual Result<void> learn(const LearnedAddress& learned) = 0;
  // Replaces groups and expiry (policy change, reload); groups 0 removes the entry.
  virtual Result<void> set_learned(const LearnedAddress& learned) = 0;
  // What the kernel holds, adopted entries of an earlier process included.
  virtual std::vector<LearnedAddress> list_learned() = 0;
  // CLOCK_BOOTTIME of the last packet that used the entry; 0 when never or not there.
  virtual std::uint64_t last_used_ns(std::uint32_t endpoint, const IpAddress& address) = 0;

  // From now on new redirected flows go to these. Worker n is element n.
  virtual Result<void> set_listeners(std::span<const WorkerListeners> workers) = 0;
  virtual Result<void> clear_listeners() = 0; // drain: no new flows

  // From now on a veth that no EndpointState names and that is not one of `others` is taken for
  // that of a pod nobody has told of yet: nothing passes it. Called again when these have changed.
  virtual Result<void> hold_new_pods(OtherInterfaces others) = 0;
  // Those that were taken for a new pod's before `begun` and still are: nobody's from now on, so
  // that they are passed by as interfaces of no pod. Until an EndpointState names one.
  virtual Result<void> end_holds(std::chrono::steady_clock::time_point begun) = 0;

  // Is the interface of this name there, with its programs? Any thread.
  virtual bool attached(const std::string& interface) = 0;
  // By what programs are on interfaces: "tcx" or "clsact"; "" where there are none. Any thread.
  [[nodiscard]] virtual std::string_view attach_mode() const = 0;

  virtual Result<Counters> counters() = 0;
  virtual std::vector<MapUse> map_use() = 0;

  // On: sockets of pods that may be joined are, from now on. An error says why they cannot be.
  virtual Result<void> set_acceleration(bool enabled) = 0;
  virtual AccelerationState acceleration() = 0; // any thread
  // The connection that this socket of the proxy belongs to goes by TCP alone from now on, whether
  // it was joined or not. False: what went from socket to socket has not all been read; to be asked
  // again. Any thread, but nobody writes on the socket meanwhile.
  virtual bool leave_acceleration(int socket) = 0;
};

} // namespace weir::redirect
