// The kernel that the tests run on, for those that want a newer one than weir does.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <sys/utsname.h>

#include <compare>
#include <cstdio>
#include <string>

namespace weir::test {

struct KernelVersion {
  int major = 0, minor = 0;

  auto operator<=>(const KernelVersion&) const = default;
  [[nodiscard]] std::string text() const {
    return std::to_string(major) + "." + std::to_string(minor);
  }
};

inline KernelVersion kernel_version() {
  utsname names{};
  KernelVersion version;
  REQUIRE(::uname(&names) == 0);
  REQUIRE(std::sscanf(names.release, "%d.%d", &version.major, &version.minor) == 2);
  return version;
}

// Before Linux 6.13 nothing bounds what waits at a joined socket, and weir joins none.
inline void require_joined_sockets() {
  if (kernel_version() < KernelVersion{6, 13}) {
    SKIP("sockets are joined on Linux 6.13 and later, this is " << kernel_version().text());
  }
}

} // namespace weir::test
