// The concrete form of Program and EndpointPolicy: plain data that compile() fills in and
// evaluate.cc reads. Not for others; they have program.h.
#pragma once

#include "policy-compiler/runtime/l7_rules.h"
#include "policy-compiler/runtime/program.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

namespace weir::policy {

// A set of identities, by their place in the program's identity table.
class IdentitySet {
public:
  IdentitySet() = default;
  explicit IdentitySet(std::size_t bits) : x_words((bits + 63) / 64) {}

  void set(std::size_t bit) { x_words[bit / 64] |= std::uint64_t{1} << (bit % 64); }
  void reset(std::size_t bit) { x_words[bit / 64] &= ~(std::uint64_t{1} << (bit % 64)); }
  [[nodiscard]] bool test(std::size_t bit) const {
    return (x_words[bit / 64] >> (bit % 64) & 1) != 0;
  }
  [[nodiscard]] bool empty() const {
    return std::all_of(x_words.begin(), x_words.end(),
                       [](std::uint64_t word) { return word == 0; });
  }
  IdentitySet& operator|=(const IdentitySet& other);
  IdentitySet& operator&=(const IdentitySet& other);
  IdentitySet& subtract(const IdentitySet& other);

  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t word = 0; word < x_words.size(); ++word) {
      for (std::uint64_t bits = x_words[word]; bits != 0; bits &= bits - 1) {
        visit(word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits)));
      }
    }
  }
  bool operator==(const IdentitySet&) const = default;

private:
  std::vector<std::uint64_t> x_words;
};

// Whom and which ports one part of a rule is about, and what it says of them.
struct Filter {
  enum class Effect : std::uint8_t {
    kAllow,
    kDeny,
    kAllowL7, // what `l7` accepts
    kDenyL7,  // what `l7` accepts is refused
  };
  Effect effect = Effect::kAllow;
  std::uint8_t protocol = 0; // IPPROTO_*; 0: every protocol and port
  std::uint16_t first = 0;
  std::uint16_t last = 0xffff;
  // A plain allow that widens a DNS rule on the very same port; ranges and wildcards do not.
  bool exact_port = false;
  // Nothing denies by default in this direction: L7 rules look, and let everything pass.
  bool lets_all_pass = false;
  std::uint32_t rule = 0; // index into Program::rules()
  const L7Rules* l7 = nullptr;
  // The peer: everybody, a set of identities, or a group of learned addresses.
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities;
  std::uint64_t fqdn_mask = 0;
};

// Identity number → place in IdentitySets. Shared by all endpoints of a program.
using IdentityTable = std::unordered_map<IdentityId, std::uint32_t>;

class CompiledEndpoint final : public EndpointPolicy {
public:
  [[nodiscard]] bool enforced(Direction direction) const override {
    return is_enforced[static_cast<std::size_t>(direction)];
  }
  [[nodiscard]] bool audited() const override { return unaudited != nullptr; }
  [[nodiscard]] FlowDecision decide(const Flow& flow) const override;
  [[nodiscard]] std::uint64_t fqdn_groups(const DnsName& name) const override;
  [[nodiscard]] std::span<const Row> rows() const override { return kernel_rows; }

  struct FqdnPattern {
    NameMatcher matcher;
    std::uint64_t mask;
  };

  bool is_enforced[2] = {};
  std::vector<Filter> filters[2]; // by direction, in the order of their rules
  std::unordered_map<DnsName, std::uint64_t> fqdn_names;
  std::vector<FqdnPattern> fqdn_patterns;
  std::vector<Row> kernel_rows;
  std::shared_ptr<const IdentityTable> identities;
  std::shared_ptr<const std::vector<RuleRef>> rules;
  // The same endpoint by the policies that are enforced alone; null when all of them are.
  std::shared_ptr<const CompiledEndpoint> unaudited;

private:
  // By all policies, whether enforced or audited.
  [[nodiscard]] FlowDecision decide_by_all(const Flow& flow) const;
};

class CompiledProgram final : public Program {
public:
  [[nodiscard]] std::uint64_t revision() const override { return number; }
  [[nodiscard]] const EndpointPolicy* find(EndpointId endpoint) const override {
    const auto found = endpoints.find(endpoint);
    return found == endpoints.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] std::span<const Prefix> prefixes() const override { return named_prefixes; }
  [[nodiscard]] std::span<const RuleRef> rules() const override { return *rule_table; }

  std::uint64_t number = 0;
  std::unordered_map<EndpointId, std::shared_ptr<const CompiledEndpoint>> endpoints;
  std::vector<Prefix> named_prefixes;
  std::shared_ptr<const std::vector<RuleRef>> rule_table;
  std::vector<std::unique_ptr<const L7Rules>> l7_rules;
};

} // namespace weir::policy
