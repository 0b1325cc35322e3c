// Equal blocks of memory for connections' reads, kept for reuse: one a worker. A block's pages
// cost memory only once they were written, so blocks may be generous.
//
// On the worker's thread only; outlives what was acquired from it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace weir::runtime {

class BufferPool {
public:
  struct Return {
    BufferPool* pool = nullptr;
    void operator()(char* block) const { pool->give_back(block); }
  };
  using Block = std::unique_ptr<char[], Return>;

  explicit BufferPool(std::size_t block_size) : x_block_size(block_size) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  [[nodiscard]] std::size_t block_size() const { return x_block_size; }
  [[nodiscard]] Block acquire() {
    if (x_free.empty()) {
      return Block(new char[x_block_size], Return{this});
    }
    char* block = x_free.back().release();
    x_free.pop_back();
    return Block(block, Return{this});
  }

private:
  // More than this after a burst goes back to the system.
  static constexpr std::size_t kMaxFree = 64;

  void give_back(char* block) {
    std::unique_ptr<char[]> owned(block);
    if (x_free.size() < kMaxFree) {
      x_free.push_back(std::move(owned));
    }
  }

  const std::size_t x_block_size;
  std::vector<std::unique_ptr<char[]>> x_free;
};

} // namespace weir::runtime
