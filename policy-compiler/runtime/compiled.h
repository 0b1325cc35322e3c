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

// Identity number → place in IdentitySets. Shared by all endpoints of a program.
using IdentityTable = std::unordered_map<IdentityId, std::uint32_t>;

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
  const RuleRef* rule = nullptr; // never null once made
  std::shared_ptr<const L7Rules> l7;
  // The peer: everybody, a set of identities, or a group of learned addresses.
  bool anybody = false;
  std::shared_ptr<const IdentitySet> identities;
  std::uint64_t fqdn_mask = 0;

  [[nodiscard]] bool covers_port(const Flow& flow) const {
    return protocol == 0 || (protocol == flow.protocol && flow.port >= first && flow.port <= last);
  }
  // `table`: the places that `identities` speaks of.
  [[nodiscard]] bool covers_peer(const Flow& flow, const IdentityTable& table) const;
};

// What policy comes to for an endpoint, and for all that are judged alike. One object serves every
// Program from the first that it was made for to the first in which something of it is different.
struct LoweredEndpoint {
  struct FqdnPattern {
    NameMatcher matcher;
    std::uint64_t mask;
  };

  bool is_enforced[2] = {};
  std::vector<Filter> filters[2]; // by direction, in the order of their rules
  std::unordered_map<DnsName, std::uint64_t> fqdn_names;
  std::vector<FqdnPattern> fqdn_patterns;
  std::vector<EndpointPolicy::Row> kernel_rows;
  // The same endpoint by the policies that are enforced alone; null when all of them are.
  std::shared_ptr<const LoweredEndpoint> unaudited;
  std::vector<std::shared_ptr<const void>> holds; // what the filters' rules live in

  // `identities`: the places that the filters' sets speak of.
  [[nodiscard]] FlowDecision decide(const Flow& flow, const IdentityTable& identities) const;

private:
  // By all policies, whether enforced or audited.
  [[nodiscard]] FlowDecision decide_by_all(const Flow& flow, const IdentityTable& identities) const;
};

class CompiledEndpoint final : public EndpointPolicy {
public:
  CompiledEndpoint(std::shared_ptr<const LoweredEndpoint> lowered,
                   std::shared_ptr<const IdentityTable> identities)
      : x_lowered(std::move(lowered)), x_identities(std::move(identities)) {}

  [[nodiscard]] bool enforced(Direction direction) const override {
    return x_lowered->is_enforced[static_cast<std::size_t>(direction)];
  }
  [[nodiscard]] bool audited() const override { return x_lowered->unaudited != nullptr; }
  [[nodiscard]] FlowDecision decide(const Flow& flow) const override {
    return x_lowered->decide(flow, *x_identities);
  }
  [[nodiscard]] std::uint64_t fqdn_groups(const DnsName& name) const override;
  [[nodiscard]] std::span<const Row> rows() const override { return x_lowered->kernel_rows; }

  [[nodiscard]] const LoweredEndpoint& lowered() const { return *x_lowered; }
  [[nodiscard]] const IdentityTable& identities() const { return *x_identities; }

private:
  std::shared_ptr<const LoweredEndpoint> x_lowered;
  std::shared_ptr<const IdentityTable> x_identities;
};

class CompiledProgram final : public Program {
public:
  [[nodiscard]] std::uint64_t revision() const override { return number; }
  [[nodiscard]] const EndpointPolicy* find(EndpointId endpoint) const override {
    const auto found = endpoints.find(endpoint);
    return found == endpoints.end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::span<const Prefix> prefixes() const override { return named_prefixes; }
  [[nodiscard]] std::span<const RuleRef* const> rules() const override { return rules_by_number; }

  std::uint64_t number = 0;
  std::unordered_map<EndpointId, CompiledEndpoint> endpoints;
  std::vector<Prefix> named_prefixes;
  std::vector<const RuleRef*> rules_by_number;    // null where none has it
  std::vector<std::shared_ptr<const void>> holds; // what they live in
};

// Rules that no policy wrote, by number.
inline constexpr std::uint32_t kRuleDefaultDeny = 0;
inline constexpr std::uint32_t kRuleLocalhost = 1;
inline constexpr std::uint32_t kRuleDefaultAllow = 2;
inline constexpr std::uint32_t kBuiltInRules = 3;
[[nodiscard]] const RuleRef& built_in_rule(std::uint32_t number);

} // namespace weir::policy
