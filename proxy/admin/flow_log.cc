#include "proxy/admin/flow_log.h"

#include <algorithm>
#include <utility>

namespace weir::admin {
namespace {

constexpr std::pair<FlowVerdict, std::string_view> kVerdicts[] = {
    {FlowVerdict::kForwarded, "FORWARDED"},
    {FlowVerdict::kRedirected, "REDIRECTED"},
    {FlowVerdict::kDropped, "DROPPED"},
    {FlowVerdict::kAudit, "AUDIT"},
};

bool is_pod(const FlowRow::End& end, std::string_view full_name) {
  const std::size_t slash = end.pod_namespace.size();
  return full_name.size() == slash + 1 + end.pod.size() &&
         full_name.starts_with(end.pod_namespace) && full_name[slash] == '/' &&
         full_name.ends_with(end.pod);
}

} // namespace

std::string_view flow_verdict_text(FlowVerdict verdict) {
  return kVerdicts[static_cast<std::size_t>(verdict)].second;
}

std::optional<FlowVerdict> parse_flow_verdict(std::string_view text) {
  for (const auto& [verdict, name] : kVerdicts) {
    if (name == text) {
      return verdict;
    }
  }
  return std::nullopt;
}

bool FlowFilter::wants(const FlowRow& row) const {
  return (!verdict || row.verdict == *verdict) &&
         (pod.empty() || is_pod(row.source, pod) || is_pod(row.destination, pod));
}

void FlowLog::add(FlowRow row) {
  auto shared = std::make_shared<const FlowRow>(std::move(row));
  const std::lock_guard lock(x_mutex);
  x_rows[x_end++ % kCapacity].swap(shared);
  if (x_callback) {
    x_callback();
  }
}

FlowLog::Read FlowLog::last(std::size_t most, const FlowFilter& filter) const {
  Read out;
  const std::lock_guard lock(x_mutex);
  out.next = x_end;
  for (std::uint64_t position = x_end; position > begin() && out.rows.size() < most; --position) {
    if (filter.wants(*at(position - 1))) {
      out.rows.push_back(at(position - 1));
    }
  }
  std::reverse(out.rows.begin(), out.rows.end());
  return out;
}

FlowLog::Read FlowLog::read(std::uint64_t from, std::size_t most, const FlowFilter& filter) {
  Read out;
  const std::lock_guard lock(x_mutex);
  out.next = std::max(from, begin());
  out.missed = out.next - from;
  for (; out.next < x_end && out.rows.size() < most; ++out.next) {
    if (filter.wants(*at(out.next))) {
      out.rows.push_back(at(out.next));
    }
  }
  if (out.missed > 0) {
    x_missed.fetch_add(out.missed, std::memory_order_relaxed);
  }
  return out;
}

void FlowLog::on_added(std::function<void()> callback) {
  const std::lock_guard lock(x_mutex);
  x_callback = std::move(callback);
}

} // namespace weir::admin
