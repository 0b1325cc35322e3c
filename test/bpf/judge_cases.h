// What policy rows say about a packet, as a table: decide_test.cc asks the C++ build of decide.h,
// program_test.cc the programs in the kernel.
#pragma once

#include "redirect-bpf/abi/weir_abi.h"

#include <cstdint>
#include <optional>

namespace weir::test {

struct Row {
  weir_verdict verdict;
  std::uint32_t rule;
};

struct Masks {
  std::uint64_t deny, redirect, allow;
  std::uint32_t rule;
};

struct JudgeCase {
  const char* name;
  std::optional<Row> peer, any;
  std::optional<Masks> learned;
  std::uint64_t groups; // of the learned address; 0: it was not learned
  bool expired;
  std::uint8_t verdict;
  std::uint8_t reason;
  std::uint32_t rule;
};

inline const JudgeCase kJudgeCases[] = {
    {"nothing matches", {}, {}, {}, 0, false, WEIR_DENY, WEIR_DROP_POLICY, 0},
    {"the peer's row allows", Row{WEIR_ALLOW, 3}, {}, {}, 0, false, WEIR_ALLOW, 0, 3},
    {"everybody's row allows", {}, Row{WEIR_ALLOW, 4}, {}, 0, false, WEIR_ALLOW, 0, 4},
    {"the peer's row is named where both say the same",
     Row{WEIR_ALLOW, 3},
     Row{WEIR_ALLOW, 4},
     {},
     0,
     false,
     WEIR_ALLOW,
     0,
     3},
    {"redirect beats allow",
     Row{WEIR_ALLOW, 3},
     Row{WEIR_REDIRECT, 4},
     {},
     0,
     false,
     WEIR_REDIRECT,
     0,
     4},
    {"deny beats redirect",
     Row{WEIR_DENY, 3},
     Row{WEIR_REDIRECT, 4},
     {},
     0,
     false,
     WEIR_DENY,
     WEIR_DROP_POLICY_DENY,
     3},
    {"everybody's deny beats the peer's allow",
     Row{WEIR_ALLOW, 3},
     Row{WEIR_DENY, 4},
     {},
     0,
     false,
     WEIR_DENY,
     WEIR_DROP_POLICY_DENY,
     4},
    {"a learned address allows", {}, {}, Masks{0, 0, 2, 7}, 2, false, WEIR_ALLOW, 0, 7},
    {"another group's bit does not",
     {},
     {},
     Masks{0, 0, 2, 7},
     4,
     false,
     WEIR_DENY,
     WEIR_DROP_POLICY,
     0},
    {"a learned address redirects",
     {},
     Row{WEIR_ALLOW, 4},
     Masks{0, 2, 2, 7},
     2,
     false,
     WEIR_REDIRECT,
     0,
     7},
    {"a learned address is denied",
     Row{WEIR_ALLOW, 3},
     {},
     Masks{1, 0, 2, 7},
     3,
     false,
     WEIR_DENY,
     WEIR_DROP_POLICY_DENY,
     7},
    {"an expired address allows nothing, and says so",
     {},
     {},
     Masks{0, 0, 2, 7},
     2,
     true,
     WEIR_DENY,
     WEIR_DROP_FQDN_EXPIRED,
     0},
    {"an expired address takes nothing away",
     Row{WEIR_ALLOW, 3},
     {},
     Masks{0, 0, 2, 7},
     2,
     true,
     WEIR_ALLOW,
     0,
     3},
    {"a learned address without a row for the port",
     {},
     {},
     {},
     2,
     false,
     WEIR_DENY,
     WEIR_DROP_POLICY,
     0},
};

} // namespace weir::test
