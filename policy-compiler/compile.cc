#include "policy-compiler/compile.h"

#include "policy-compiler/compiler.h"

namespace weir::policy {

CompileResult compile(const CompileInput& input, PrefixIdentities& prefixes, FqdnGroupBits& bits) {
  return Compiler().compile(input, prefixes, bits);
}

} // namespace weir::policy
