#include "proxy/base/unique_fd.h"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>

#include <type_traits>

namespace {

using weir::UniqueFd;

static_assert(!std::is_copy_constructible_v<UniqueFd>);
static_assert(!std::is_copy_assignable_v<UniqueFd>);
static_assert(std::is_nothrow_move_constructible_v<UniqueFd>);

int opened() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  return fd;
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_CASE("a descriptor is closed when its owner ends") {
  const int fd = opened();
  {
    const UniqueFd owner(fd);
    CHECK(owner.valid());
    CHECK(owner.get() == fd);
    CHECK(is_open(fd));
  }
  CHECK_FALSE(is_open(fd));
}

TEST_CASE("moving hands the descriptor over, and closes what the target had") {
  const int first = opened();
  const int second = opened();
  UniqueFd a(first);
  UniqueFd b(second);
  b = std::move(a);
  CHECK(b.get() == first);
  CHECK_FALSE(is_open(second));
  const UniqueFd c(std::move(b));
  CHECK(c.get() == first);
  CHECK(is_open(first));
}

TEST_CASE("a released descriptor stays open") {
  const int fd = opened();
  {
    UniqueFd owner(fd);
    CHECK(owner.release() == fd);
    CHECK_FALSE(owner.valid());
  }
  CHECK(is_open(fd));
  ::close(fd);
}

TEST_CASE("resetting to the same descriptor or moving onto itself keeps it open") {
  const int fd = opened();
  UniqueFd owner(fd);
  owner.reset(fd);
  CHECK(is_open(fd));
  UniqueFd& same = owner;
  owner = std::move(same);
  CHECK(owner.get() == fd);
  CHECK(is_open(fd));
  owner.reset();
  CHECK_FALSE(owner.valid());
  CHECK_FALSE(is_open(fd));
}

TEST_CASE("an empty owner closes nothing") {
  const UniqueFd empty;
  CHECK_FALSE(empty.valid());
  CHECK(empty.get() == -1);
}

} // namespace
