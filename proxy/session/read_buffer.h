// A pooled block that one side of an HTTP/1 session is read into.
//
//      block     begin                end             block + size
//        │ used    │ read, not yet used │ room            │
//
// Heads are parsed where they lie, and bodies go from here straight to the other side.
#pragma once

#include "proxy/runtime/buffer_pool.h"

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace weir::session {

struct ReadBuffer {
  // A head begins no later than here in its block, or is moved to the front first.
  static constexpr std::size_t kMaxHeadOffset = 16 * 1024;

  runtime::BufferPool::Block block; // null before open()
  std::size_t begin = 0, end = 0;

  void open(runtime::BufferPool& pool) {
    if (!block) {
      block = pool.acquire();
    }
  }
  [[nodiscard]] bool empty() const { return begin == end; }
  [[nodiscard]] std::size_t size() const { return end - begin; }
  [[nodiscard]] char* data() { return block.get() + begin; }
  [[nodiscard]] std::string_view view() const { return {block.get() + begin, end - begin}; }
  // For the next read. The pool outlives its blocks.
  [[nodiscard]] std::span<char> room() {
    return {block.get() + end, block.get_deleter().pool->block_size() - end};
  }
  // Forgets what was read; the next read goes to `at`.
  void restart(std::size_t at = 0) { begin = end = at; }
  // Views of what was read are no longer good afterwards.
  void make_room_for_head() {
    if (begin > kMaxHeadOffset) {
      std::memmove(block.get(), block.get() + begin, end - begin);
      end -= std::exchange(begin, 0);
    }
  }
};

} // namespace weir::session
