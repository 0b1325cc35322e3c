// Every write to a BPF map that the program under test makes, seen one at a time: the linker puts
// these functions in the place of libbpf's (weir_watch_map_writes() in test/support), so that the
// program itself has no hook. While somebody watches, batches are written element by element.
//
// The thread that writes; one watcher at a time.
#pragma once

#include <cstddef>
#include <functional>

namespace weir::test {

class MapWrites {
public:
  // `after` is called after each write to any map; it may write nothing itself. Without it writes
  // are only counted.
  explicit MapWrites(std::function<void()> after = {});
  ~MapWrites();
  MapWrites(const MapWrites&) = delete;
  MapWrites& operator=(const MapWrites&) = delete;

  [[nodiscard]] std::size_t count() const; // since it was made

private:
  std::size_t x_before;
};

} // namespace weir::test
