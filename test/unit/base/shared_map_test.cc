#include "proxy/base/shared_map.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <optional>
#include <random>
#include <vector>

namespace weir {
namespace {

using Numbers = SharedMap<int, int>;
using Plain = std::map<int, int>;

// Every key meets in one place.
struct SameHash {
  std::size_t operator()(int /*key*/) const { return 7; }
};

template <typename Map>
Plain plain(const Map& map) {
  Plain out;
  map.for_each([&](int key, int value) { CHECK(out.emplace(key, value).second); });
  return out;
}

using Difference = std::map<int, std::pair<std::optional<int>, std::optional<int>>>;

Difference expected_difference(const Plain& before, const Plain& after) {
  Difference out;
  for (const auto& [key, value] : before) {
    const auto now = after.find(key);
    if (now == after.end()) {
      out[key] = {value, std::nullopt};
    } else if (now->second != value) {
      out[key] = {value, now->second};
    }
  }
  for (const auto& [key, value] : after) {
    if (!before.contains(key)) {
      out[key] = {std::nullopt, value};
    }
  }
  return out;
}

template <typename Map>
Difference difference(const Map& before, const Map& after) {
  Difference out;
  Map::for_each_difference(before, after, [&](int key, const int* was, const int* is) {
    const auto value = [](const int* one) { return one ? std::optional(*one) : std::nullopt; };
    CHECK(out.emplace(key, std::pair(value(was), value(is))).second);
  });
  return out;
}

template <typename Map>
void agrees_with_plain_maps(int keys) {
  std::minstd_rand random(keys);
  typename Map::Editor editor{{}};
  Plain known;
  std::vector<std::pair<Map, Plain>> kept;
  for (int round = 0; round < 60; ++round) {
    for (int change = 0; change < 1 + round % 9; ++change) {
      const int key = static_cast<int>(random() % keys);
      if (random() % 3 == 0) {
        editor.erase(key);
        known.erase(key);
      } else {
        editor.set(key, round);
        known[key] = round;
      }
      CHECK((editor.find(key) != nullptr) == known.contains(key));
    }
    kept.emplace_back(editor.take(), known);
  }
  for (const auto& [map, then] : kept) { // later changes are not seen
    CHECK(plain(map) == then);
    CHECK(map.size() == then.size());
    for (int key = 0; key < keys; ++key) {
      const int* found = map.find(key);
      REQUIRE((found != nullptr) == then.contains(key));
      CHECK((found == nullptr || *found == then.at(key)));
    }
    for (const auto& [other, other_then] : kept) {
      CHECK(difference(map, other) == expected_difference(then, other_then));
    }
  }
}

TEST_CASE("a map and all its earlier copies say what plain maps say, and what differs") {
  agrees_with_plain_maps<Numbers>(5);
  agrees_with_plain_maps<Numbers>(300);
  agrees_with_plain_maps<SharedMap<int, int, SameHash>>(30);
}

TEST_CASE("what differs between big maps is found without a look at what they share") {
  struct Counted {
    bool operator==(const Counted& other) const {
      ++*compared;
      return value == other.value;
    }
    int value = 0;
    std::size_t* compared = nullptr;
  };
  using Big = SharedMap<int, Counted>;
  std::size_t compared = 0;
  Big::Editor editor{{}};
  for (int key = 0; key < 20'000; ++key) {
    editor.set(key, {key, &compared});
  }
  const Big before = editor.take();
  editor.set(4711, {-1, &compared});
  const Big after = editor.take();
  compared = 0;
  std::size_t seen = 0;
  Big::for_each_difference(before, after, [&](int key, const Counted* was, const Counted* is) {
    CHECK(key == 4711);
    CHECK(was->value == 4711);
    CHECK(is->value == -1);
    ++seen;
  });
  CHECK(seen == 1);
  CHECK(compared < 100); // those of one leaf
}

} // namespace
} // namespace weir
