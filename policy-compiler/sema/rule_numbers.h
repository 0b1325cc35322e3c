// Numbers of rules, as the kernel's rows and events carry them. A rule that people would call the
// same (policy, section, place in it) keeps its number from compile to compile, so that a change of
// one policy leaves the rows of all others as they are.
//
// A number that fell free is given out again only after settle(), when no row holds it any more,
// and then the oldest first and only when many are free: an event that is still on its way does not
// meet its new meaning.
//
// Control thread.
#pragma once

#include "policy-compiler/model/policy.h"

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::policy {

class RuleNumbers {
public:
  RuleNumbers();

  // Of the policy's rules, in their order; the same to every policy that has the same name.
  std::vector<std::uint32_t> take(const Policy& policy);
  void leave(const Policy& policy);
  // What was left before is in no row any more.
  void settle();
  // Above all numbers given out.
  [[nodiscard]] std::uint32_t end() const { return x_end; }

private:
  struct Entry {
    std::uint32_t number = 0;
    std::uint32_t holders = 0;
  };
  std::uint32_t next();

  std::unordered_map<std::string, Entry> x_rules;
  std::vector<std::uint32_t> x_left;
  std::deque<std::uint32_t> x_free;
  std::uint32_t x_end;
};

} // namespace weir::policy
