// What the admin server shows, as plain rows, and where it gets them. The control plane implements
// Source; the server knows nothing behind it.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/admin/flow_log.h"
#include "proxy/admin/trace.h"
#include "proxy/base/ip.h"
#include "proxy/base/metrics.h"
#include "proxy/base/result.h"
#include "redirect-bpf/user/redirector.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::admin {

struct PolicyRow {
  std::string kind, policy_namespace, name, file;
  std::string status;  // "accepted" | "rejected" | "skipped"
  std::string message; // for rejected: "file:line:column: message, hint"; several lines if several
};

struct EndpointRow {
  std::string endpoint_namespace, name;
  policy::IdentityId identity = 0;
  policy::Labels labels;
  std::vector<std::string> ips;
  std::string interface;
  std::vector<std::string> policies; // labels of those that select it: "shop/api"
  // "enforced" (some policy selects it), "untouched", "remote", "held" (no policy computed yet),
  // "detached" (its interface is not there)
  std::string state;
};

struct ListenerRow {
  std::string name, type, address, protocol; // type: "static" | "transparent"
};

// What the control thread last put into force; immutable.
struct View {
  std::uint64_t revision = 0; // of the Program
  std::chrono::system_clock::time_point loaded_at;
  std::uint64_t policy_loads = 0, policy_load_errors = 0; // since start
  std::vector<PolicyRow> policies;
  std::vector<ListenerRow> listeners;
};

struct FqdnRow {
  std::string pod; // "namespace/name"
  std::string name, address;
  std::uint32_t ttl = 0;
  std::chrono::system_clock::time_point expires_at; // without the grace time
  bool expired = false; // past that as well: opens nothing, and is only remembered
};

struct Readiness {
  bool ready = false;
  std::string reason; // why not: "policies: /etc/weir/policies is missing"; or what is degraded
};

// How well the Kubernetes API is heard, where it is the source.
struct ClusterHealth {
  bool followed = false; // is it the source?
  bool known = false;    // the cluster has been listed, now or by an earlier process
  std::string trouble;   // why news may be missing, or pods are held; empty: all is well
  std::chrono::seconds staleness{0}; // since the API was last heard of
};

// Why a message between joined sockets went by TCP.
inline constexpr std::pair<weir_join_count, std::string_view> kUnjoinedReasons[] = {
    {WEIR_JOIN_OFF, "off"},         {WEIR_JOIN_UNDECIDED, "undecided"},
    {WEIR_JOIN_NO_PEER, "no_peer"}, {WEIR_JOIN_UNREAD, "unread"},
    {WEIR_JOIN_FULL, "full"},       {WEIR_JOIN_UNFIT, "unfit"},
    {WEIR_JOIN_BUSY, "busy"},       {WEIR_JOIN_LAST, "last"}};

// Any method may be called from the admin thread.
class Source {
public:
  virtual ~Source() = default;

  [[nodiscard]] virtual std::shared_ptr<const View> view() const = 0; // never null
  // By name. Made when asked for: a cluster has many pods, and they change often.
  [[nodiscard]] virtual std::vector<EndpointRow> endpoints() const = 0;
  [[nodiscard]] virtual std::vector<FqdnRow> fqdn() const = 0;
  [[nodiscard]] virtual std::uint64_t fqdn_evicted() const = 0; // so far, over a limit
  [[nodiscard]] virtual ClusterHealth cluster_health() const = 0;
  [[nodiscard]] virtual std::string_view attach_mode() const = 0; // redirect::Redirector's
  // Asks every worker for a sign of life, so that it proves the data path; at most 1 s.
  [[nodiscard]] virtual Readiness readiness() = 0;
  [[nodiscard]] virtual std::vector<const WorkerMetrics*> worker_metrics() const = 0;
  [[nodiscard]] virtual Result<redirect::Counters> bpf_counters() = 0;
  [[nodiscard]] virtual std::vector<redirect::MapUse> bpf_map_use() = 0;

  [[nodiscard]] virtual redirect::AccelerationState acceleration() = 0;

  [[nodiscard]] virtual FlowLog& flows() = 0;

  // What is in force says so; nothing is changed.
  [[nodiscard]] virtual Result<boost::json::object> trace(const TraceQuestion& question) const = 0;
  // Of what is in force (probes.h).
  [[nodiscard]] virtual Result<boost::json::array> probes() const = 0;

  virtual void reload() = 0;            // re-read policies and endpoints now
  virtual void accelerate(bool on) = 0; // what comes of it: acceleration()
  virtual void drain() = 0;             // stop accepting, let what runs end
  virtual void quit() = 0;              // drain, then end the process
};

} // namespace weir::admin
