#include "policy-compiler/compiler.h"

#include "policy-compiler/lower/endpoint.h"
#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/conflicts.h"
#include "policy-compiler/sema/resolve.h"
#include "policy-compiler/sema/rule_numbers.h"
#include "policy-compiler/sema/selections.h"
#include "policy-compiler/sema/universe.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace weir::policy {
namespace {

// A policy of the last input.
struct KnownPolicy {
  std::shared_ptr<const PolicyParts> parts;
  ResolvedPolicy resolved;
  std::vector<IpPrefix> prefixes;
  bool names_services = false;
  bool names_cidr_groups = false;
  bool is_resolved = false;
  std::uint64_t wanted_in = 0; // the last compile that knew it
};

using KnownPolicies = std::unordered_map<const Policy*, KnownPolicy>;

// Everything that holds for one Universe only.
struct Memory {
  std::optional<Universe> universe;
  Selections selections;
  KnownPolicies policies;
  EndpointLowering lowering;
  // What the last compile was given, as far as it is not in the above.
  std::vector<ServiceInput> services;
  std::vector<std::shared_ptr<const Policy>> cidr_groups;
  std::multimap<IdentityId, NamedPort> named_ports;
  std::map<std::string, std::string> header_secrets;
  std::optional<PeerPorts> peer_ports;
};

} // namespace

struct Compiler::State {
  std::uint64_t compiles = 0;
  RuleNumbers numbers;
  Memory memory;

  void start_over();
  void learn_policies(const CompileInput& input);
  void forget_policies();
  [[nodiscard]] std::vector<IpPrefix> named_prefixes() const;
  // True: somebody has come, gone or got other labels.
  bool update_universe(const CompileInput& input, PrefixIdentities& prefixes);
  bool update_named_ports(const CompileInput& input, bool universe_changed);
  std::vector<SpecInUse> resolve(const CompileInput& input, bool universe_changed,
                                 Diagnostics& diagnostics);
  void lower(const CompileInput& input, const std::vector<SpecInUse>& specs, FqdnGroupBits& bits,
             CompiledProgram& program, Diagnostics& diagnostics);
  void list_rules(const CompileInput& input, CompiledProgram& program) const;
};

// Nothing that was made is used again, but rules keep their numbers.
void Compiler::State::start_over() {
  KnownPolicies known = std::move(memory.policies);
  memory = {};
  for (auto& [policy, of_it] : known) {
    KnownPolicy kept;
    kept.parts = std::move(of_it.parts);
    memory.policies.emplace(policy, std::move(kept));
  }
}

void Compiler::State::learn_policies(const CompileInput& input) {
  std::vector<std::shared_ptr<const Policy>> cidr_groups;
  for (const auto& policy : input.policies) {
    if (policy->cidr_group) {
      cidr_groups.push_back(policy);
    }
  }
  const bool other_services = memory.services != input.services;
  const bool other_groups = memory.cidr_groups != cidr_groups;
  memory.services = input.services;
  memory.cidr_groups = std::move(cidr_groups);

  for (const auto& policy : input.policies) {
    KnownPolicy& known = memory.policies[policy.get()];
    known.wanted_in = compiles;
    const bool is_new = known.prefixes.empty() && !known.is_resolved;
    if (known.parts == nullptr) {
      known.parts = parts_of(policy, numbers.take(*policy));
    }
    if (is_new) {
      known.names_services = policy::names_services(*policy);
      known.names_cidr_groups = policy::names_cidr_groups(*policy);
    }
    if (is_new || (other_services && known.names_services)) {
      known.prefixes.clear();
      add_named_prefixes(*policy, input.services, known.prefixes);
    }
    if ((other_services && known.names_services) || (other_groups && known.names_cidr_groups)) {
      known.is_resolved = false;
    }
  }
}

void Compiler::State::forget_policies() {
  std::erase_if(memory.policies, [&](const auto& one) {
    if (one.second.wanted_in == compiles) {
      return false;
    }
    numbers.leave(*one.second.parts->policy);
    return true;
  });
  memory.selections.drop_unused();
}

std::vector<IpPrefix> Compiler::State::named_prefixes() const {
  std::vector<IpPrefix> out;
  for (const auto& [policy, known] : memory.policies) {
    if (known.wanted_in == compiles) {
      out.insert(out.end(), known.prefixes.begin(), known.prefixes.end());
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

bool Compiler::State::update_universe(const CompileInput& input, PrefixIdentities& prefixes) {
  if (memory.universe) {
    switch (memory.universe->update(input, named_prefixes(), prefixes)) {
    case Universe::Update::kSame:
      return false;
    case Universe::Update::kChanged:
      memory.selections.look_up_again(*memory.universe);
      return true;
    case Universe::Update::kFull:
      break;
    }
    start_over();
    learn_policies(input);
  }
  memory.universe.emplace(input, named_prefixes(), prefixes);
  return true;
}

// True: some peer's named port may lead elsewhere.
bool Compiler::State::update_named_ports(const CompileInput& input, bool universe_changed) {
  if (memory.peer_ports && !universe_changed && memory.named_ports == input.peer_ports) {
    return false;
  }
  memory.named_ports = input.peer_ports;
  memory.peer_ports.emplace(input, *memory.universe);
  return true;
}

std::vector<SpecInUse> Compiler::State::resolve(const CompileInput& input, bool universe_changed,
                                                Diagnostics& diagnostics) {
  std::vector<SpecInUse> specs;
  Resolver resolver(input, *memory.universe, memory.selections, compiles);
  for (const auto& policy : input.policies) {
    KnownPolicy& known = memory.policies.at(policy.get());
    if (!known.is_resolved || (universe_changed && !known.resolved.up_to_date())) {
      known.resolved = resolver.resolve(known.parts, known.resolved);
      known.is_resolved = true;
    }
    diagnostics.insert(diagnostics.end(), known.resolved.diagnostics.begin(),
                       known.resolved.diagnostics.end());
    for (const ResolvedSpec& spec : known.resolved.specs) {
      specs.push_back({spec, false});
    }
  }
  std::set<std::uint32_t> subjects;
  const auto table = memory.universe->table();
  for (const EndpointInput& endpoint : input.endpoints) {
    if (const auto place = table->find(endpoint.identity); place != table->end()) {
      subjects.insert(place->second);
    }
  }
  withdraw_conflicts(specs, subjects, diagnostics);
  return specs;
}

void Compiler::State::lower(const CompileInput& input, const std::vector<SpecInUse>& specs,
                            FqdnGroupBits& bits, CompiledProgram& program,
                            Diagnostics& diagnostics) {
  const auto table = memory.universe->table();
  const EndpointLowering::Context context{input, *memory.universe, specs, *memory.peer_ports,
                                          bits,  diagnostics};
  for (const EndpointInput& endpoint : input.endpoints) {
    // An identity that is not listed has no labels to select by: no policy is computed, and the
    // endpoint is held.
    if (table->contains(endpoint.identity)) {
      program.endpoints.insert_or_assign(
          endpoint.id, CompiledEndpoint(memory.lowering.lower(endpoint, context), table));
    }
  }
}

void Compiler::State::list_rules(const CompileInput& input, CompiledProgram& program) const {
  program.rules_by_number.resize(numbers.end());
  for (std::uint32_t number = 0; number < kBuiltInRules; ++number) {
    program.rules_by_number[number] = &built_in_rule(number);
  }
  program.holds.reserve(input.policies.size());
  for (const auto& policy : input.policies) {
    const auto& parts = memory.policies.at(policy.get()).parts;
    for (const auto& rules : parts->rules) {
      for (const RuleRef& rule : rules) {
        program.rules_by_number[rule.number] = &rule;
      }
    }
    program.holds.push_back(parts);
  }
}

Compiler::Compiler() : x_state(std::make_unique<State>()) {}
Compiler::~Compiler() = default;

CompileResult Compiler::compile(const CompileInput& input, PrefixIdentities& prefixes,
                                FqdnGroupBits& bits) {
  State& state = *x_state;
  ++state.compiles;
  if (state.memory.header_secrets != input.header_secrets) {
    state.start_over();
    state.memory.header_secrets = input.header_secrets;
  }
  state.learn_policies(input);
  const bool universe_changed = state.update_universe(input, prefixes);
  const bool ports_moved = state.update_named_ports(input, universe_changed);

  CompileResult result;
  auto program = std::make_shared<CompiledProgram>();
  program->number = input.revision;
  program->named_prefixes = state.memory.universe->cells();
  const std::vector<SpecInUse> specs = state.resolve(input, universe_changed, result.diagnostics);
  state.memory.lowering.begin(ports_moved);
  state.lower(input, specs, bits, *program, result.diagnostics);
  state.memory.lowering.end();
  state.forget_policies();
  state.list_rules(input, *program);
  result.program = std::move(program);
  return result;
}

void Compiler::settle() { x_state->numbers.settle(); }

} // namespace weir::policy
