// What has to work before a test can begin: thrown where it does not, so that it may be said on any
// thread, other than REQUIRE (assertion_thread.h).
#pragma once

#include <cerrno>
#include <system_error>

namespace weir::test {

// `what` failed as errno says.
inline void must(bool done, const char* what) {
  if (!done) {
    throw std::system_error(errno, std::generic_category(), what);
  }
}

} // namespace weir::test
