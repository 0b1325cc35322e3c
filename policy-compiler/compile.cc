#include "policy-compiler/compile.h"

#include "policy-compiler/lower/endpoint.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/conflicts.h"
#include "policy-compiler/sema/resolve.h"
#include "policy-compiler/sema/universe.h"

namespace weir::policy {

CompileResult compile(const CompileInput& input, PrefixIdentities& prefixes, FqdnGroupBits& bits) {
  CompileResult result;
  auto program = std::make_shared<CompiledProgram>();
  program->number = input.revision;

  const Universe universe(input, named_prefixes(input), prefixes);
  program->named_prefixes = universe.cells();

  std::vector<RuleRef> rules = built_in_rules();
  Resolver resolver(input, universe, result.diagnostics);
  std::vector<ResolvedSpec> specs = resolver.resolve(rules);
  program->rule_table = std::make_shared<const std::vector<RuleRef>>(std::move(rules));

  std::set<std::uint32_t> subjects;
  const auto table = universe.table();
  for (const EndpointInput& endpoint : input.endpoints) {
    if (const auto place = table->find(endpoint.identity); place != table->end()) {
      subjects.insert(place->second);
    }
  }
  withdraw_conflicts(specs, subjects, result.diagnostics);

  EndpointLowering lowering(input, universe, specs, resolver.names(), program->rule_table, bits,
                            result.diagnostics);
  for (const EndpointInput& endpoint : input.endpoints) {
    // An identity that is not listed has no labels to select by: no policy is computed, and the
    // endpoint is held.
    if (table->contains(endpoint.identity)) {
      program->endpoints[endpoint.id] = lowering.lower(endpoint);
    }
  }
  program->l7_rules = lowering.take_l7_rules();
  result.program = std::move(program);
  return result;
}

} // namespace weir::policy
