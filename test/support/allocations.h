// Counts what the code under test takes from the heap, in whatever way. Belongs into a binary of
// its own, not built for the sanitizers: it replaces operator new, as they do.
#pragma once

#include <cstddef>
#include <functional>

namespace weir::test {

// How often this thread takes memory while it does the work.
[[nodiscard]] std::size_t allocations_of(const std::function<void()>& work);

} // namespace weir::test
