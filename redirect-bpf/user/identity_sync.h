// The two tables of identities in the kernel (weir_identities), one for each slot of the policy
// (bpf_redirector.h). The slot that is not in use is brought up to date by what it lacks, which is
// what the last two changes changed, however many addresses there are.
//
// Control thread. Errors: the kernel's; the slot is then not to be used, and built anew next time.
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/redirector.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::redirect {

class IdentitySync {
public:
  explicit IdentitySync(int map) : x_map(map) {}

  // Of a slot that no packet is judged by any more.
  Result<void> fill(std::uint32_t slot, const IdentityRows& wanted);
  // False also where that is not known, as it is from before this process.
  [[nodiscard]] bool holds(std::uint32_t slot, const IdentityRows& rows) const;

private:
  struct Slot {
    UniqueFd trie; // invalid: what the slot holds is not known
    IdentityRows rows;
    std::size_t room = 0;
  };
  Result<void> write(std::uint32_t slot, const UniqueFd& trie) const;
  Result<void> build(std::uint32_t slot, const IdentityRows& wanted);
  Result<void> change(const Slot& held, const IdentityRows& wanted) const;

  int x_map;
  std::array<Slot, WEIR_SLOTS> x_slots;
};

} // namespace weir::redirect
