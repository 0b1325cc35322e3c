#include "test/support/assertion_thread.h"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace weir::test {
namespace {

// How a child ends in which a thread asserts what is true: a signal, or 0.
int ending_of_assertion(bool on_thread_that_may) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL); // Catch2 would tell of it
    std::thread([&] {
      may_assert = on_thread_that_may;
      CHECK(true);
    }).join();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_CASE("an assertion on a thread beside the test's own ends the binary") {
  CHECK(ending_of_assertion(false) == SIGABRT);
  CHECK(ending_of_assertion(true) == 0);
}

} // namespace
} // namespace weir::test
