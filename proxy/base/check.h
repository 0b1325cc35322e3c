// Invariants. Never for input: what a peer, a file or the kernel says is handled, not asserted.
#pragma once

namespace weir {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
} // namespace weir

#define WEIR_CHECK(expression)                                                                     \
  ((expression) ? static_cast<void>(0) : ::weir::check_failed(#expression, __FILE__, __LINE__))

#ifdef NDEBUG
#define WEIR_DCHECK(expression) static_cast<void>(0)
#else
#define WEIR_DCHECK(expression) WEIR_CHECK(expression)
#endif
