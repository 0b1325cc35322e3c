#include "proxy/dns/learned_names.h"

#include "proxy/base/check.h"

#include <algorithm>
#include <iterator>

namespace weir::dns {

void LearnedNames::put(const DnsName& name, std::uint64_t groups, const IpAddress& address,
                       std::uint32_t ttl, std::uint64_t ends_ns) {
  const auto named = x_names.try_emplace(name).first;
  named->second.groups = groups;
  const auto [known, fresh] = named->second.records.try_emplace(address);
  if (!fresh) {
    Record& record = *known->second;
    record.ttl = ttl;
    record.ends_ns = std::max(record.ends_ns, ends_ns);
    record.answer = x_answer;
    record.ended = false;
    x_order.splice(x_order.end(), x_order, known->second);
    return;
  }
  x_order.push_back({&named->first, address, ttl, ends_ns, x_answer});
  known->second = std::prev(x_order.end());
  x_addresses[address].records.push_back(known->second);
}

const LearnedNames::Record* LearnedNames::oldest() const {
  return x_order.empty() || x_order.front().answer == x_answer ? nullptr : &x_order.front();
}

void LearnedNames::spare_oldest() { x_order.splice(x_order.end(), x_order, x_order.begin()); }

void LearnedNames::drop_oldest() { drop(x_order.begin()); }

LearnedNames::Order::iterator LearnedNames::drop(Order::iterator record) {
  const auto named = x_names.find(*record->name);
  const auto addressed = x_addresses.find(record->address);
  WEIR_CHECK(named != x_names.end() && addressed != x_addresses.end());
  auto& records = addressed->second.records;
  records.erase(std::find(records.begin(), records.end(), record));
  if (records.empty()) {
    x_addresses.erase(addressed);
  }
  named->second.records.erase(record->address);
  const auto next = x_order.erase(record);
  if (named->second.records.empty()) {
    x_names.erase(named);
  }
  return next;
}

namespace {

void keep_each_once(std::vector<IpAddress>& addresses) {
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
}

} // namespace

std::vector<IpAddress> LearnedNames::end_before(std::uint64_t now_ns) {
  std::vector<IpAddress> ended;
  for (Record& record : x_order) {
    if (!record.ended && record.ends_ns <= now_ns) {
      record.ended = true;
      ended.push_back(record.address);
    }
  }
  keep_each_once(ended);
  return ended;
}

const LearnedNames::Record* LearnedNames::find(const DnsName& name,
                                               const IpAddress& address) const {
  const auto named = x_names.find(name);
  if (named == x_names.end()) {
    return nullptr;
  }
  const auto record = named->second.records.find(address);
  return record == named->second.records.end() ? nullptr : &*record->second;
}

const LearnedNames::Record* LearnedNames::latest(const IpAddress& address) const {
  const auto at = x_addresses.find(address);
  if (at == x_addresses.end()) {
    return nullptr;
  }
  const auto& records = at->second.records;
  return &**std::max_element(records.begin(), records.end(),
                             [](const auto& a, const auto& b) { return a->ends_ns < b->ends_ns; });
}

std::vector<IpAddress> LearnedNames::drop_if(const std::function<bool(const Record&)>& over) {
  std::vector<IpAddress> touched;
  for (auto at = x_order.begin(); at != x_order.end();) {
    if (over(*at)) {
      touched.push_back(at->address);
      at = drop(at);
    } else {
      ++at;
    }
  }
  keep_each_once(touched);
  return touched;
}

LearnedNames::KernelEntry LearnedNames::wanted(const IpAddress& address,
                                               std::uint64_t now_ns) const {
  const auto at = x_addresses.find(address);
  KernelEntry live;
  KernelEntry all;
  if (at == x_addresses.end()) {
    return all;
  }
  for (const auto& record : at->second.records) {
    const std::uint64_t groups = x_names.at(*record->name).groups;
    if (groups == 0) {
      continue;
    }
    all.groups |= groups;
    all.ends_ns = std::max(all.ends_ns, record->ends_ns);
    if (record->ends_ns > now_ns) {
      live.groups |= groups;
      live.ends_ns = all.ends_ns;
    }
  }
  return live.groups != 0 ? live : all;
}

std::uint64_t LearnedNames::live_groups(const IpAddress& address, std::uint64_t now_ns) const {
  const KernelEntry entry = wanted(address, now_ns);
  return entry.ends_ns > now_ns ? entry.groups : 0;
}

bool LearnedNames::kernel_has(const IpAddress& address, const KernelEntry& entry) const {
  const auto at = x_addresses.find(address);
  return at != x_addresses.end() && at->second.kernel_known && at->second.kernel == entry;
}

bool LearnedNames::kernel_covers(const IpAddress& address, const KernelEntry& entry) const {
  const auto at = x_addresses.find(address);
  return at != x_addresses.end() && (entry.groups & ~at->second.kernel.groups) == 0 &&
         at->second.kernel.ends_ns >= entry.ends_ns;
}

void LearnedNames::kernel_told(const IpAddress& address, const KernelEntry& entry) {
  const auto at = x_addresses.find(address);
  if (at != x_addresses.end()) {
    at->second.kernel = entry;
    at->second.kernel_known = true;
  }
}

void LearnedNames::kernel_joined(const IpAddress& address, const KernelEntry& entry) {
  const auto at = x_addresses.find(address);
  WEIR_CHECK(at != x_addresses.end());
  at->second.kernel.groups |= entry.groups;
  at->second.kernel.ends_ns = std::max(at->second.kernel.ends_ns, entry.ends_ns);
}

void LearnedNames::regroup(const std::function<std::uint64_t(const DnsName&)>& groups_of_name) {
  for (auto& [name, state] : x_names) {
    state.groups = groups_of_name(name);
  }
}

std::vector<IpAddress> LearnedNames::addresses() const {
  std::vector<IpAddress> addresses;
  addresses.reserve(x_addresses.size());
  for (const auto& entry : x_addresses) {
    addresses.push_back(entry.first);
  }
  return addresses;
}

} // namespace weir::dns
