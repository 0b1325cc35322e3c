#include "redirect-bpf/user/map_dump.h"

#include "proxy/base/unique_fd.h"
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

namespace weir::redirect {
namespace {

Result<UniqueFd> open_map(const std::string& folder, const char* name, std::size_t key_size,
                          std::size_t value_size) {
  const std::string path = folder + "/" + name;
  UniqueFd map(bpf_obj_get(path.c_str()));
  if (!map.valid()) {
    return errno_error("open " + path);
  }
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_map_get_info_by_fd(map.get(), &info, &length) != 0) {
    return errno_error("read about " + path);
  }
  if (info.key_size != key_size || info.value_size != value_size) {
    return invalid_error(path + " has another layout than this weirctl knows");
  }
  return map;
}

template <typename Key, typename Value>
Result<std::vector<std::pair<Key, Value>>> read_hash(const std::string& folder, const char* name) {
  const auto map = open_map(folder, name, sizeof(Key), sizeof(Value));
  if (!map) {
    return map.error();
  }
  std::vector<std::pair<Key, Value>> elements;
  const auto read = read_batches(
      map->get(), sizeof(Key), sizeof(Value),
      [&](std::span<const char> keys, std::span<const char> values, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          auto& [key, value] = elements.emplace_back();
          std::memcpy(&key, &keys[i * sizeof(Key)], sizeof(Key));
          std::memcpy(&value, &values[i * sizeof(Value)], sizeof(Value));
        }
      });
  if (!read) {
    return read.error();
  }
  return elements;
}

// The trie that stands at `key` of a map of maps. Tries do not change once they are there.
template <typename Key, typename Value, typename OuterKey>
Result<std::vector<std::pair<Key, Value>>> read_inner(int outer, const OuterKey& at) {
  std::uint32_t id = 0;
  if (bpf_map_lookup_elem(outer, &at, &id) != 0) {
    return errno_error("read a map of maps");
  }
  const UniqueFd inner(bpf_map_get_fd_by_id(id));
  if (!inner.valid()) {
    return errno_error("open an inner map");
  }
  std::vector<std::pair<Key, Value>> elements;
  for (const Key& key : list_keys<Key>(inner.get())) {
    Value value{};
    if (bpf_map_lookup_elem(inner.get(), &key, &value) == 0) {
      elements.emplace_back(key, value);
    }
  }
  return elements;
}

} // namespace

MapDump::MapDump(const std::string& bpffs) : x_folder(pin_folder(bpffs) + "/maps") {}

Result<weir_config> MapDump::config() const {
  const auto map = open_map(x_folder, "weir_config", sizeof(std::uint32_t), sizeof(weir_config));
  if (!map) {
    return map.error();
  }
  const std::uint32_t zero = 0;
  weir_config config{};
  if (bpf_map_lookup_elem(map->get(), &zero, &config) != 0) {
    return errno_error("read weir_config");
  }
  return config;
}

Result<std::vector<std::pair<std::uint32_t, PolicyRow>>> MapDump::policies() const {
  const auto now = config();
  if (!now) {
    return now.error();
  }
  const auto map =
      open_map(x_folder, "weir_policies", sizeof(weir_policy_slot), sizeof(std::uint32_t));
  if (!map) {
    return map.error();
  }
  std::vector<std::pair<std::uint32_t, PolicyRow>> rows;
  for (const weir_policy_slot& key : list_keys<weir_policy_slot>(map->get())) {
    if (key.slot != weir_slot(now->revision)) {
      continue;
    }
    const auto inner = read_inner<weir_policy_key, weir_policy_entry>(map->get(), key);
    if (!inner) {
      return inner.error();
    }
    for (const auto& [row_key, entry] : *inner) {
      rows.push_back({key.endpoint, {row_key, entry}});
    }
  }
  return rows;
}

Result<std::vector<std::pair<weir_identity_key, std::uint32_t>>> MapDump::identities() const {
  const auto now = config();
  if (!now) {
    return now.error();
  }
  const auto map =
      open_map(x_folder, "weir_identities", sizeof(std::uint32_t), sizeof(std::uint32_t));
  if (!map) {
    return map.error();
  }
  const std::uint32_t slot = weir_slot(now->revision);
  return read_inner<weir_identity_key, std::uint32_t>(map->get(), slot);
}

Result<std::vector<std::pair<weir_ct_key, weir_ct_entry>>> MapDump::conntrack() const {
  return read_hash<weir_ct_key, weir_ct_entry>(x_folder, "weir_conntrack");
}

Result<std::vector<std::pair<weir_learned_key, weir_learned_entry>>> MapDump::learned() const {
  return read_hash<weir_learned_key, weir_learned_entry>(x_folder, "weir_learned");
}

Result<Counters> MapDump::counters() const {
  const auto counters =
      open_map(x_folder, "weir_counters", sizeof(std::uint32_t), sizeof(std::uint64_t));
  if (!counters) {
    return counters.error();
  }
  const auto drops = open_map(x_folder, "weir_drops", sizeof(std::uint32_t), sizeof(std::uint64_t));
  if (!drops) {
    return drops.error();
  }
  return read_counters(counters->get(), drops->get());
}

} // namespace weir::redirect
