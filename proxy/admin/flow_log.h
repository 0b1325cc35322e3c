// The last flows that the kernel decided, as people read them, and the way from the thread that
// writes them to those that read. A ring: a new row takes the place of the oldest, whoever has read
// it or not, so that no reader can hold up the writer or cost memory.
//
// Any thread. Rows are immutable.
#pragma once

#include "proxy/base/ip.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::admin {

// What became of it, as Hubble names it. AUDIT: forwarded, and a policy that is only audited would
// have dropped it.
enum class FlowVerdict : std::uint8_t { kForwarded, kRedirected, kDropped, kAudit };
[[nodiscard]] std::string_view flow_verdict_text(FlowVerdict verdict);
[[nodiscard]] std::optional<FlowVerdict> parse_flow_verdict(std::string_view text);

struct FlowRow {
  struct End {
    std::string pod_namespace, pod; // empty: no pod, or nobody knows whose
    IpAddress ip;
    std::uint16_t port = 0;     // 0: the protocol has none
    std::uint32_t identity = 0; // 0: not known
    std::string entity;         // of a reserved identity: "world-ipv4"; of a prefix: "10.0.0.0/8"
  };

  std::chrono::system_clock::time_point time;
  FlowVerdict verdict = FlowVerdict::kDropped;
  // Of what was not simply allowed: "POLICY_DENIED", "FQDN_EXPIRED name=api.example.test age=12s".
  std::string reason;
  std::string_view direction; // static text: "ingress" | "egress", of the pod whose policy it is
  std::string protocol;       // "TCP"
  End source, destination;
  std::string policy;  // whose rule decided: "shop/api", "default-deny"; empty: none was asked
  std::string rule;    // "egress rule 2"
  std::string nearest; // what came nearest to allowing it, in words
};

struct FlowFilter {
  std::string pod; // "namespace/name" of either end; empty: all
  std::optional<FlowVerdict> verdict;

  [[nodiscard]] bool wants(const FlowRow& row) const;
};

class FlowLog {
public:
  static constexpr std::size_t kCapacity = 4096; // rows; each of some hundred bytes

  void add(FlowRow row);

  using Rows = std::vector<std::shared_ptr<const FlowRow>>;
  struct Read {
    Rows rows;                // oldest first
    std::uint64_t next = 0;   // position of the row that comes next; positions count all rows ever
    std::uint64_t missed = 0; // rows, wanted or not, that were gone before they were read
  };
  // The newest `most` that the filter wants.
  [[nodiscard]] Read last(std::size_t most, const FlowFilter& filter) const;
  // Goes on where another Read ended: at most `most` rows; none: there is nothing new.
  Read read(std::uint64_t from, std::size_t most, const FlowFilter& filter);
  // By all followers so far.
  [[nodiscard]] std::uint64_t missed() const { return x_missed.load(std::memory_order_relaxed); }
  // Rows that the access log should have had a line of, and had no room for.
  void note_unlogged() { x_unlogged.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t unlogged() const {
    return x_unlogged.load(std::memory_order_relaxed);
  }

  // Called with every row, on the writer's thread, and never again once another one (or none) is
  // set. Must neither wait nor come back here.
  void on_added(std::function<void()> callback);

private:
  [[nodiscard]] const std::shared_ptr<const FlowRow>& at(std::uint64_t position) const {
    return x_rows[position % kCapacity];
  }
  [[nodiscard]] std::uint64_t begin() const { return x_end > kCapacity ? x_end - kCapacity : 0; }

  mutable std::mutex x_mutex; // guards the next three
  std::vector<std::shared_ptr<const FlowRow>> x_rows{kCapacity};
  std::uint64_t x_end = 0;
  std::function<void()> x_callback;
  std::atomic<std::uint64_t> x_missed{0}, x_unlogged{0};
};

} // namespace weir::admin
