#include "test/support/map_writes.h"

#include <bpf/bpf.h>

#include <atomic>
#include <utility>

// Named by the linker's --wrap.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {
int __real_bpf_map_update_elem(int map, const void* key, const void* value, __u64 flags);
int __real_bpf_map_delete_elem(int map, const void* key);
int __real_bpf_map_update_batch(int map, const void* keys, const void* values, __u32* count,
                                const bpf_map_batch_opts* options);
}

namespace weir::test {
namespace {

std::atomic<std::size_t> writes{0};
std::function<void()> watcher;

int note(int result) {
  ++writes;
  if (watcher) {
    watcher();
  }
  return result;
}

} // namespace

MapWrites::MapWrites(std::function<void()> after) : x_before(writes) { watcher = std::move(after); }
MapWrites::~MapWrites() { watcher = nullptr; }

std::size_t MapWrites::count() const { return writes - x_before; }

} // namespace weir::test

extern "C" {

int __wrap_bpf_map_update_elem(int map, const void* key, const void* value, __u64 flags) {
  return weir::test::note(__real_bpf_map_update_elem(map, key, value, flags));
}

int __wrap_bpf_map_delete_elem(int map, const void* key) {
  return weir::test::note(__real_bpf_map_delete_elem(map, key));
}

// While somebody watches, it is not known to this kernel: the caller then writes one by one.
int __wrap_bpf_map_update_batch(int map, const void* keys, const void* values, __u32* count,
                                const bpf_map_batch_opts* options) {
  if (weir::test::watcher) {
    return -1;
  }
  const int result = __real_bpf_map_update_batch(map, keys, values, count, options);
  weir::test::writes += *count;
  return result;
}

} // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
