// The kernel's two tables of identities through random changes: after each, the slot that was
// filled holds what was wanted and nothing else, however it got there.
#include "redirect-bpf/user/identity_sync.h"

#include "redirect-bpf/user/map_sync.h"
#include "test/support/netns.h"

#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>

namespace weir::redirect {
namespace {

using Plain = std::map<std::pair<IpAddress::Bytes, unsigned>, std::uint32_t>;

UniqueFd slots() {
  const UniqueFd inner = build_identity_trie({}, 1).value();
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.inner_map_fd = static_cast<std::uint32_t>(inner.get());
  return UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_identities",
                                 sizeof(std::uint32_t), sizeof(std::uint32_t), WEIR_SLOTS,
                                 &options));
}

Plain held_by_kernel(int outer, std::uint32_t slot) {
  std::uint32_t id = 0;
  REQUIRE(bpf_map_lookup_elem(outer, &slot, &id) == 0);
  const UniqueFd trie(bpf_map_get_fd_by_id(id));
  REQUIRE(trie.valid());
  Plain held;
  for (const weir_identity_key& key : list_keys<weir_identity_key>(trie.get())) {
    std::uint32_t identity = 0;
    REQUIRE(bpf_map_lookup_elem(trie.get(), &key, &identity) == 0);
    held[{from_abi(key.address).bytes(), key.prefix_length}] = identity;
  }
  return held;
}

Plain plain(const IdentityRows& rows) {
  Plain out;
  rows.for_each([&](const IpPrefix& prefix, std::uint32_t identity) {
    out[{prefix.address().bytes(), prefix.mapped_length()}] = identity;
  });
  return out;
}

TEST_CASE("a slot holds what is wanted, whether it was built or changed", "[bpf][root]") {
  test::require_root();
  const UniqueFd outer = slots();
  REQUIRE(outer.valid());
  IdentitySync sync(outer.get());
  std::minstd_rand random(7);
  IdentityRows::Editor editor{{}};
  std::map<std::uint32_t, IdentityRows> filled;
  for (unsigned round = 0; round < 120; ++round) {
    // Now and then so many that there is no room left and the table is built anew.
    for (unsigned change = 0; change < (round % 40 == 39 ? 3000u : round % 5); ++change) {
      const auto part = [&] { return static_cast<std::uint8_t>(random() % 256); };
      const auto address = IpAddress::from_v4({10, static_cast<std::uint8_t>(random() % 4),
                                               static_cast<std::uint8_t>(random() % 8), part()});
      const IpPrefix prefix(address, random() % 4 == 0 ? 24 : 32);
      if (random() % 3 == 0) {
        editor.erase(prefix);
      } else {
        editor.set(prefix, 256 + static_cast<std::uint32_t>(random() % 9));
      }
    }
    const IdentityRows rows = editor.take();
    const std::uint32_t slot = round % 3 == 2 ? (round + 1) % WEIR_SLOTS : round % WEIR_SLOTS;
    REQUIRE(sync.fill(slot, rows).has_value());
    filled[slot] = rows;
    for (const auto& [one, wanted] : filled) { // the other slot is as it was
      REQUIRE(held_by_kernel(outer.get(), one) == plain(wanted));
      CHECK(sync.holds(one, wanted));
    }
  }
}

TEST_CASE("a table that is not known any more is built anew", "[bpf][root]") {
  test::require_root();
  const UniqueFd outer = slots();
  IdentityRows::Editor editor{{}};
  editor.set(*IpPrefix::parse("10.0.0.1/32"), 256);
  const IdentityRows rows = editor.take();
  REQUIRE(IdentitySync(outer.get()).fill(0, rows).has_value());
  IdentitySync next(outer.get()); // of the next process
  CHECK_FALSE(next.holds(0, rows));
  editor.set(*IpPrefix::parse("10.0.0.2/32"), 257);
  REQUIRE(next.fill(0, editor.take()).has_value());
  CHECK(held_by_kernel(outer.get(), 0).size() == 2);
}

} // namespace
} // namespace weir::redirect
