#include "proxy/runtime/buffer_pool.h"

#include <catch2/catch_test_macros.hpp>

using weir::runtime::BufferPool;

TEST_CASE("a block that was given back is the next one given out") {
  BufferPool pool(1000);
  CHECK(pool.block_size() == 1000);
  char* first = nullptr;
  {
    const BufferPool::Block block = pool.acquire();
    first = block.get();
    const BufferPool::Block other = pool.acquire();
    CHECK(other.get() != first);
  }
  // Last in, first out: `block` went back last.
  CHECK(pool.acquire().get() == first);
}
