#include "proxy/runtime/drain.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>

using namespace weir;

namespace {

struct Counting final : runtime::Drainable {
  using Drainable::Drainable;
  int drained = 0;
  void on_drain() override { ++drained; }
};

} // namespace

TEST_CASE("draining reaches the members of that moment, and later ones see it") {
  runtime::DrainList list;
  Counting stays(list);
  auto gone = std::make_unique<Counting>(list);
  gone.reset();
  CHECK_FALSE(list.draining());
  list.drain();
  CHECK(list.draining());
  CHECK(stays.drained == 1);
}
