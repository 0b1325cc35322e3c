// compile() that remembers: of what was compiled before, everything stays as it is that the new
// input does not touch. The results are those of compile() with the same input; a policy that
// changed costs what the endpoints cost that it selects.
//
// A rule that people would call the same keeps its number (RuleRef::number) in all of a Compiler's
// Programs, so that an endpoint that a change does not concern has the same rows before and after.
//
// Control thread. The Programs are for any thread, and may outlive the Compiler.
#pragma once

#include "policy-compiler/compile.h"

#include <memory>

namespace weir::policy {

class Compiler {
public:
  Compiler();
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  // `prefixes` and `bits` answer a question always alike, or the kernel's maps would be wrong.
  [[nodiscard]] CompileResult compile(const CompileInput& input, PrefixIdentities& prefixes,
                                      FqdnGroupBits& bits);

  // The last Program is in force, whole: no kernel row has a rule's number from an older one.
  // Without this call numbers that fell free are never used again.
  void settle();

private:
  struct State;
  std::unique_ptr<State> x_state;
};

} // namespace weir::policy
