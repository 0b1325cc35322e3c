#include "policy-compiler/lower/ports.h"

#include <catch2/catch_test_macros.hpp>

#include <vector>

using weir::policy::port_blocks;

TEST_CASE("blocks are together the range, and nothing else") {
  const std::pair<std::uint16_t, std::uint16_t> ranges[] = {
      {0, 0xffff}, {0, 0},       {80, 80},       {0xffff, 0xffff}, {1, 0xffff},     {0, 0xfffe},
      {79, 81},    {1024, 2047}, {30000, 32767}, {1, 2},           {0xfffe, 0xffff}};
  for (const auto& [first, last] : ranges) {
    std::vector<int> covered(0x10000);
    for (const auto& [base, bits] : port_blocks(first, last)) {
      const std::uint32_t size = 1u << (16 - bits);
      CHECK(base % size == 0);
      for (std::uint32_t port = base; port < base + size; ++port) {
        ++covered[port];
      }
    }
    bool right = true;
    for (std::uint32_t port = 0; port < covered.size(); ++port) {
      right = right && covered[port] == (port >= first && port <= last ? 1 : 0);
    }
    CHECK(right);
  }
}

TEST_CASE("no range needs more than thirty blocks") {
  CHECK(port_blocks(1, 0xfffe).size() == 30);
  CHECK(port_blocks(0, 0xffff).size() == 1);
}
