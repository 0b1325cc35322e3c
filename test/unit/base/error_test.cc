#include "proxy/base/error.h"
#include "proxy/base/result.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <cerrno>

namespace {

using namespace weir;

TEST_CASE("an error from errno says what was done and why it failed") {
  errno = EADDRINUSE;
  const Error error = errno_error("bind 127.0.0.1:53");
  CHECK(error.code == std::errc::address_in_use);
  CHECK(error.text() == "bind 127.0.0.1:53: Address already in use");
  CHECK(errno_error(ENOENT, "open").text() == "open: No such file or directory");
}

TEST_CASE("an error about input says only what is wrong with it") {
  const Error error = invalid_error("no pod named shop/web");
  CHECK(error.code == std::errc::invalid_argument);
  CHECK(error.text() == "no pod named shop/web");
}

TEST_CASE("a failed result carries its error, and value() of it throws the error's text") {
  const Result<int> failed = errno_error(EACCES, "open /x");
  CHECK_FALSE(failed.has_value());
  CHECK(failed.error().code == std::errc::permission_denied);
  CHECK_THROWS_MATCHES(failed.value(), std::runtime_error,
                       Catch::Matchers::Message("open /x: Permission denied"));
  const Result<int> good = 7;
  CHECK(good.value() == 7);
}

} // namespace
