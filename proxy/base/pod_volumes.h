// How much each pod asks of DNS, for those who look for data carried out in names. Bounded: when
// more pods have come and gone than a node has room for, all counts begin anew, as they do with a
// restart. Any thread; in practice one writer, now and then a reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weir {

struct PodVolume {
  std::uint64_t queries = 0;
  std::uint64_t name_bytes = 0; // of the names asked for, in wire form
};

class PodVolumes {
public:
  static constexpr std::size_t kMaxPods = 1024;
  using ByPod = std::unordered_map<std::string, PodVolume>; // "namespace/name"

  void add(std::string_view pod_namespace, std::string_view pod, std::size_t name_bytes) {
    const std::lock_guard lock(x_mutex);
    x_key.assign(pod_namespace).append("/").append(pod);
    auto at = x_volumes.find(x_key);
    if (at == x_volumes.end()) {
      if (x_volumes.size() == kMaxPods) {
        x_volumes.clear();
      }
      at = x_volumes.try_emplace(x_key).first;
    }
    ++at->second.queries;
    at->second.name_bytes += name_bytes;
  }
  // Adds to what stands there.
  void add_to(ByPod& sums) const {
    const std::lock_guard lock(x_mutex);
    for (const auto& [pod, volume] : x_volumes) {
      PodVolume& sum = sums[pod];
      sum.queries += volume.queries;
      sum.name_bytes += volume.name_bytes;
    }
  }

private:
  mutable std::mutex x_mutex;
  ByPod x_volumes;
  std::string x_key; // keeps its storage
};

} // namespace weir
