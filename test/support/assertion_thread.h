// Which threads may assert. Catch2 keeps no lock: an assertion on a second thread, beside one of
// the test's own, corrupts its state, and only now and then. So each assertion on a thread that may
// not ends the test binary at once and says where it is (assertion_thread.cc, linked to every
// test). Other threads say what they saw by values that the test looks at, or throw.
#pragma once

namespace weir::test {

// True for the thread of main(), and for one that it waits for meanwhile.
inline thread_local bool may_assert = false;

} // namespace weir::test
