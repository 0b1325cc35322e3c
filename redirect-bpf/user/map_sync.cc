#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>

namespace weir::redirect {

namespace {

// Keys and values side by side, as the batch call wants them.
struct Columns {
  std::vector<char> keys, values;
  std::size_t count = 0;

  void add(const void* key, std::size_t key_size, const void* value, std::size_t value_size) {
    const auto* k = static_cast<const char*>(key);
    const auto* v = static_cast<const char*>(value);
    keys.insert(keys.end(), k, k + key_size);
    values.insert(values.end(), v, v + value_size);
    ++count;
  }
};

Result<UniqueFd> build_trie(const char* name, std::size_t key_size, std::size_t value_size,
                            const Columns& columns, std::size_t room) {
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.map_flags = BPF_F_NO_PREALLOC;
  const auto entries = static_cast<std::uint32_t>(std::max<std::size_t>({columns.count, room, 1}));
  UniqueFd trie(bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, name, static_cast<std::uint32_t>(key_size),
                               static_cast<std::uint32_t>(value_size), entries, &options));
  if (!trie.valid()) {
    return errno_error(std::string("create ") + name);
  }
  Result<void> filled;
  write_all(trie.get(), columns.keys.data(), key_size, columns.values.data(), value_size,
            columns.count, [&](std::size_t /*index*/, const Error& error) { filled = error; });
  if (!filled) {
    return filled.error();
  }
  return trie;
}

} // namespace

weir_addr to_abi(const IpAddress& address) {
  weir_addr abi{};
  std::memcpy(abi.bytes, address.bytes().data(), sizeof(abi.bytes));
  return abi;
}

IpAddress from_abi(const weir_addr& address) {
  IpAddress::Bytes bytes;
  std::memcpy(bytes.data(), address.bytes, bytes.size());
  return IpAddress(bytes);
}

std::vector<char> content_of(std::span<const PolicyRow> rows) {
  std::vector<char> content;
  content.reserve(rows.size() * (sizeof(weir_policy_key) + sizeof(weir_policy_entry)));
  for (const PolicyRow& row : rows) {
    const auto* key = reinterpret_cast<const char*>(&row.key);
    const auto* entry = reinterpret_cast<const char*>(&row.entry);
    content.insert(content.end(), key, key + sizeof(row.key));
    content.insert(content.end(), entry, entry + sizeof(row.entry));
  }
  return content;
}

weir_identity_key identity_key(const IpPrefix& prefix) {
  return {.prefix_length = prefix.mapped_length(), .address = to_abi(prefix.address())};
}

Result<TriePtr> build_policy_trie(std::span<const PolicyRow> rows) {
  Columns columns;
  for (const PolicyRow& row : rows) {
    columns.add(&row.key, sizeof(row.key), &row.entry, sizeof(row.entry));
  }
  auto map = build_trie("weir_policy", sizeof(weir_policy_key), sizeof(weir_policy_entry), columns,
                        rows.size());
  if (!map) {
    return map.error();
  }
  return std::make_shared<const Trie>(Trie{std::move(*map), content_of(rows)});
}

Result<UniqueFd> build_identity_trie(const IdentityRows& rows, std::size_t room) {
  Columns columns;
  rows.for_each([&](const IpPrefix& prefix, std::uint32_t identity) {
    const weir_identity_key key = identity_key(prefix);
    columns.add(&key, sizeof(key), &identity, sizeof(identity));
  });
  return build_trie("weir_identity", sizeof(weir_identity_key), sizeof(std::uint32_t), columns,
                    room);
}

void write_all(int map, const char* keys, std::size_t key_size, const char* values,
               std::size_t value_size, std::size_t count,
               const std::function<void(std::size_t, const Error&)>& refused) {
  if (count == 0) {
    return;
  }
  auto done = static_cast<std::uint32_t>(count);
  if (bpf_map_update_batch(map, keys, values, &done, nullptr) == 0) {
    return;
  }
  // Not known to this map type, or one element was refused: one by one tells which.
  for (std::size_t i = 0; i < count; ++i) {
    const char* key = keys + i * key_size;
    if (bpf_map_update_elem(map, key, values + i * value_size, BPF_ANY) != 0) {
      const Error error = errno_error("write a map element");
      (void)bpf_map_delete_elem(map, key);
      refused(i, error);
    }
  }
}

std::vector<char> list_keys(int map, std::size_t key_size) {
  std::vector<char> keys;
  std::vector<char> key(key_size);
  const char* before = nullptr;
  while (bpf_map_get_next_key(map, before, key.data()) == 0) {
    keys.insert(keys.end(), key.begin(), key.end());
    before = key.data();
  }
  return keys;
}

Result<void> read_batches(
    int map, std::size_t key_size, std::size_t value_size,
    const std::function<void(std::span<const char>, std::span<const char>, std::size_t)>& take) {
  constexpr std::uint32_t kChunk = 8192; // more than any bucket holds, which is what may fail
  std::vector<char> keys(kChunk * key_size);
  std::vector<char> values(kChunk * value_size);
  std::uint32_t position = 0;
  for (bool first = true;; first = false) {
    std::uint32_t count = kChunk;
    const int error = bpf_map_lookup_batch(map, first ? nullptr : &position, &position, keys.data(),
                                           values.data(), &count, nullptr);
    if (error != 0 && errno != ENOENT) {
      return errno_error("read a map");
    }
    take(keys, values, count);
    if (error != 0) {
      return {};
    }
  }
}

std::uint64_t count_entries(int map, std::size_t key_size, std::size_t value_size) {
  std::uint64_t total = 0;
  // What cannot be read is not counted.
  (void)read_batches(map, key_size, value_size,
                     [&total](auto, auto, std::size_t count) { total += count; });
  return total;
}

Result<Counters> read_counters(int counters, int drops) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) {
    return errno_error(-cpus, "count CPUs");
  }
  std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
  Counters sums;
  const auto add_up = [&](int map, std::uint64_t* sum, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      if (bpf_map_lookup_elem(map, &i, values.data()) != 0) {
        return false;
      }
      for (const std::uint64_t value : values) {
        sum[i] += value;
      }
    }
    return true;
  };
  if (!add_up(counters, sums.packets, WEIR_COUNT_MAX) ||
      !add_up(drops, sums.drops, WEIR_DROP_COUNTERS)) {
    return errno_error("read counters");
  }
  return sums;
}

} // namespace weir::redirect
