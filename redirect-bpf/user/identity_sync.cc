#include "redirect-bpf/user/identity_sync.h"

#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <utility>

namespace weir::redirect {

namespace {

bool same(const IdentityRows& a, const IdentityRows& b) {
  bool differ = false;
  IdentityRows::for_each_difference(a, b,
                                    [&](const auto& /*prefix*/, const auto* /*before*/,
                                        const auto* /*after*/) { differ = true; });
  return !differ;
}

} // namespace

bool IdentitySync::holds(std::uint32_t slot, const IdentityRows& rows) const {
  return x_slots[slot].trie.valid() && same(x_slots[slot].rows, rows);
}

Result<void> IdentitySync::write(std::uint32_t slot, const UniqueFd& trie) const {
  const int descriptor = trie.get();
  if (bpf_map_update_elem(x_map, &slot, &descriptor, BPF_ANY) != 0) {
    return errno_error("write weir_identities");
  }
  return {};
}

Result<void> IdentitySync::build(std::uint32_t slot, const IdentityRows& wanted) {
  // An update of a full trie fails even where it replaces.
  const std::size_t room = wanted.size() + wanted.size() / 2 + 1024;
  auto trie = build_identity_trie(wanted, room);
  if (!trie) {
    return trie.error();
  }
  if (auto written = write(slot, *trie); !written) {
    return written;
  }
  x_slots[slot] = {std::move(*trie), wanted, room};
  return {};
}

Result<void> IdentitySync::change(const Slot& held, const IdentityRows& wanted) const {
  Result<void> changed;
  // What goes makes room for what comes.
  for (const bool going : {true, false}) {
    IdentityRows::for_each_difference(
        held.rows, wanted,
        [&](const IpPrefix& prefix, const std::uint32_t* /*before*/, const std::uint32_t* after) {
          if (going != (after == nullptr)) {
            return;
          }
          const weir_identity_key key = identity_key(prefix);
          const int failed = going ? bpf_map_delete_elem(held.trie.get(), &key)
                                   : bpf_map_update_elem(held.trie.get(), &key, after, BPF_ANY);
          if (failed != 0) {
            changed = errno_error("change the table of identities");
          }
        });
  }
  return changed;
}

Result<void> IdentitySync::fill(std::uint32_t slot, const IdentityRows& wanted) {
  if (holds(slot, wanted)) {
    return {};
  }
  Slot held = std::exchange(x_slots[slot], {});
  if (!held.trie.valid() || wanted.size() >= held.room) {
    return build(slot, wanted);
  }
  // A packet that began when the slot was in use may still read it. Writing into a map of maps
  // waits for such packets, also where it writes what is there.
  if (auto waited = write(slot, held.trie); !waited) {
    return waited;
  }
  if (auto changed = change(held, wanted); !changed) {
    return changed;
  }
  held.rows = wanted;
  x_slots[slot] = std::move(held);
  return {};
}

} // namespace weir::redirect
