// Whole maps at once: tries built before they are seen, keys listed, many elements written in one
// call. Knows the ABI's types; knows no order in which the maps make sense (bpf_redirector.h does).
//
// Control thread. Errors: the kernel's.
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/redirector.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace weir::redirect {

weir_addr to_abi(const IpAddress& address);
IpAddress from_abi(const weir_addr& address);

// An inner trie and what it holds, as bytes: the same content need not be built again.
struct Trie {
  UniqueFd map;
  std::vector<char> content;
};
using TriePtr = std::shared_ptr<const Trie>;

std::vector<char> content_of(std::span<const PolicyRow> rows);

Result<TriePtr> build_policy_trie(std::span<const PolicyRow> rows);
weir_identity_key identity_key(const IpPrefix& prefix);
// With room for so many rows; at least for those given.
Result<UniqueFd> build_identity_trie(const IdentityRows& rows, std::size_t room);

// Writes `count` elements, in one call where the kernel takes it. An element that is refused is
// removed, so that no older value stays in its place, and its index handed to `refused`.
void write_all(int map, const char* keys, std::size_t key_size, const char* values,
               std::size_t value_size, std::size_t count,
               const std::function<void(std::size_t, const Error&)>& refused);

// Every key of a hash map that is not being written to meanwhile.
std::vector<char> list_keys(int map, std::size_t key_size);
template <typename Key>
std::vector<Key> list_keys(int map) {
  const std::vector<char> bytes = list_keys(map, sizeof(Key));
  std::vector<Key> keys(bytes.size() / sizeof(Key));
  if (!keys.empty()) {
    std::memcpy(keys.data(), bytes.data(), bytes.size());
  }
  return keys;
}

// A hash map's elements in batches: keys and values one behind the other, and how many. What
// changes meanwhile may be missed.
Result<void> read_batches(
    int map, std::size_t key_size, std::size_t value_size,
    const std::function<void(std::span<const char>, std::span<const char>, std::size_t)>& take);
std::uint64_t count_entries(int map, std::size_t key_size, std::size_t value_size);

// Of all CPUs: weir_counters and weir_drops.
Result<Counters> read_counters(int counters, int drops);

} // namespace weir::redirect
