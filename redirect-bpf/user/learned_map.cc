#include "redirect-bpf/user/learned_map.h"

#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>

namespace weir::redirect {

namespace {

weir_learned_key learned_key(std::uint32_t endpoint, const IpAddress& address) {
  return {.endpoint = endpoint, .address = to_abi(address)};
}

} // namespace

Result<void> LearnedMap::learn(const LearnedAddress& learned) {
  const weir_learned_key key = learned_key(learned.endpoint, learned.address);
  weir_learned_entry entry{};
  const std::lock_guard lock(x_mutex);
  (void)bpf_map_lookup_elem(x_map, &key, &entry); // not there: all zero
  entry.groups |= learned.groups;
  entry.expires_ns = std::max<std::uint64_t>(entry.expires_ns, learned.expires_ns);
  if (bpf_map_update_elem(x_map, &key, &entry, BPF_ANY) != 0) {
    return errno_error("write weir_learned");
  }
  return {};
}

Result<void> LearnedMap::set(const LearnedAddress& learned) {
  const weir_learned_key key = learned_key(learned.endpoint, learned.address);
  const std::lock_guard lock(x_mutex);
  if (learned.groups == 0) {
    if (bpf_map_delete_elem(x_map, &key) != 0 && errno != ENOENT) {
      return errno_error("remove from weir_learned");
    }
    return {};
  }
  weir_learned_entry entry{};
  (void)bpf_map_lookup_elem(x_map, &key, &entry); // last_used_ns stays
  entry.groups = learned.groups;
  entry.expires_ns = learned.expires_ns;
  if (bpf_map_update_elem(x_map, &key, &entry, BPF_ANY) != 0) {
    return errno_error("write weir_learned");
  }
  return {};
}

std::vector<LearnedAddress> LearnedMap::list() {
  std::vector<LearnedAddress> learned;
  const std::lock_guard lock(x_mutex);
  for (const weir_learned_key& key : list_keys<weir_learned_key>(x_map)) {
    weir_learned_entry entry{};
    if (bpf_map_lookup_elem(x_map, &key, &entry) == 0) {
      IpAddress::Bytes bytes;
      std::copy(std::begin(key.address.bytes), std::end(key.address.bytes), bytes.begin());
      learned.push_back({key.endpoint, IpAddress(bytes), entry.groups, entry.expires_ns});
    }
  }
  return learned;
}

std::uint64_t LearnedMap::last_used_ns(std::uint32_t endpoint, const IpAddress& address) {
  const weir_learned_key key = learned_key(endpoint, address);
  weir_learned_entry entry{};
  return bpf_map_lookup_elem(x_map, &key, &entry) == 0 ? entry.last_used_ns : 0;
}

void LearnedMap::remove_except(const std::function<bool(std::uint32_t endpoint)>& stays) {
  const std::lock_guard lock(x_mutex);
  for (const weir_learned_key& key : list_keys<weir_learned_key>(x_map)) {
    if (!stays(key.endpoint)) {
      (void)bpf_map_delete_elem(x_map, &key);
    }
  }
}

} // namespace weir::redirect
