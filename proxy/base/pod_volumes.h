// How much each pod asks of DNS, for those who look for data carried out in names. Bounded: when
// more pods have come and gone than a node has room for, those that do not ask at the moment begin
// anew, as all do with a restart.
//
// Threads: of() and what it gives are the one writer's; any thread may call add_to().
#pragma once

#include "proxy/base/counter.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace weir {

struct PodVolume {
  std::uint64_t queries = 0;
  std::uint64_t name_bytes = 0; // of the names asked for, in wire form
};

class PodVolumes {
public:
  static constexpr std::size_t kMaxPods = 1024;
  using ByPod = std::unordered_map<std::string, PodVolume>; // "namespace/name"

  // What is counted of one pod, without a lock. Whoever holds it keeps it among the volumes.
  class Pod {
  public:
    Pod(std::string_view pod_namespace, std::string_view name)
        : x_namespace(pod_namespace), x_name(name) {}

    void add(std::size_t name_bytes) {
      x_queries.add();
      x_name_bytes.add(name_bytes);
    }
    [[nodiscard]] PodVolume volume() const { return {x_queries.value(), x_name_bytes.value()}; }
    [[nodiscard]] bool is(std::string_view pod_namespace, std::string_view name) const {
      return name == x_name && pod_namespace == x_namespace;
    }

  private:
    const std::string x_namespace, x_name;
    Counter x_queries, x_name_bytes;
  };

  // Never null.
  [[nodiscard]] std::shared_ptr<Pod> of(std::string_view pod_namespace, std::string_view name) {
    std::string key(pod_namespace);
    key.append("/").append(name);
    const std::lock_guard lock(x_mutex);
    if (const auto at = x_pods.find(key); at != x_pods.end()) {
      return at->second;
    }
    if (x_pods.size() >= kMaxPods) {
      std::erase_if(x_pods, [](const auto& entry) { return entry.second.use_count() == 1; });
    }
    return x_pods.emplace(std::move(key), std::make_shared<Pod>(pod_namespace, name)).first->second;
  }
  // Adds to what stands there.
  void add_to(ByPod& sums) const {
    const std::lock_guard lock(x_mutex);
    for (const auto& [key, pod] : x_pods) {
      const PodVolume volume = pod->volume();
      PodVolume& sum = sums[key];
      sum.queries += volume.queries;
      sum.name_bytes += volume.name_bytes;
    }
  }

private:
  mutable std::mutex x_mutex;
  std::unordered_map<std::string, std::shared_ptr<Pod>> x_pods;
};

} // namespace weir
