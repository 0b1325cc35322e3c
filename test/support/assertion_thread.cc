#include "test/support/assertion_thread.h"

#include <catch2/catch_assertion_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include <cstdio>
#include <cstdlib>

namespace weir::test {
namespace {

class AssertionThread final : public Catch::EventListenerBase {
public:
  using Catch::EventListenerBase::EventListenerBase;

  void testRunStarting(const Catch::TestRunInfo&) override { may_assert = true; }
  void assertionStarting(const Catch::AssertionInfo& assertion) override {
    if (!may_assert) {
      std::fprintf(stderr, "%s:%zu: an assertion on a thread that may not assert\n",
                   assertion.lineInfo.file, assertion.lineInfo.line);
      std::abort();
    }
  }
};

CATCH_REGISTER_LISTENER(AssertionThread)

} // namespace
} // namespace weir::test
