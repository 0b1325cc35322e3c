// Names, help and labels of every metric, in one table that both forms are written from: Envoy's
// text (/stats) and Prometheus' (/metrics). Labels never carry what a peer can choose: no path, no
// name but those of this node's pods. Admin thread.
#pragma once

#include "proxy/admin/model.h"
#include "proxy/base/pod_volumes.h"

#include <chrono>
#include <string>
#include <string_view>

namespace weir::admin {

// Everything that the metrics are computed from, taken at one moment.
struct StatsInput {
  std::shared_ptr<const View> view;
  std::vector<EndpointRow> endpoints;
  std::vector<const WorkerMetrics*> workers;
  PodVolumes::ByPod dns_volumes; // of all workers together
  std::vector<FqdnRow> fqdn;
  std::uint64_t fqdn_evicted = 0;
  ClusterHealth cluster;
  Result<redirect::Counters> bpf = redirect::Counters{};
  std::vector<redirect::MapUse> maps;
  redirect::AccelerationState acceleration;
  std::uint64_t flows_missed = 0;   // by readers of /flows that were too slow
  std::uint64_t flows_unlogged = 0; // for which the access log had no room
  std::chrono::system_clock::time_point started_at;
};

[[nodiscard]] StatsInput take_stats(Source& source,
                                    std::chrono::system_clock::time_point started_at);

// "name.label.value: number", one a line.
[[nodiscard]] std::string stats_text(const StatsInput& input);
// Text format 0.0.4.
[[nodiscard]] std::string stats_prometheus(const StatsInput& input);
inline constexpr std::string_view kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";

} // namespace weir::admin
