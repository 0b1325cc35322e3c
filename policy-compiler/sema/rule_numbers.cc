#include "policy-compiler/sema/rule_numbers.h"

#include "policy-compiler/runtime/compiled.h"
#include "proxy/base/check.h"

namespace weir::policy {
namespace {

constexpr std::size_t kKeptFree = 4096;

template <typename Visit>
void for_each_key(const Policy& policy, Visit&& visit) {
  std::string key = policy.kind + '\n' + policy.policy_namespace + '\n' + policy.name + '\n';
  const std::size_t of_policy = key.size();
  for (std::size_t spec = 0; spec < policy.specs.size(); ++spec) {
    for (const Rule& rule : policy.specs[spec].rules) {
      key.resize(of_policy);
      key += std::to_string(spec) + '\n' + rule.section + '\n' + std::to_string(rule.number);
      visit(key);
    }
  }
}

} // namespace

RuleNumbers::RuleNumbers() : x_end(kBuiltInRules) {}

std::uint32_t RuleNumbers::next() {
  if (x_free.size() <= kKeptFree) {
    return x_end++;
  }
  const std::uint32_t number = x_free.front();
  x_free.pop_front();
  return number;
}

std::vector<std::uint32_t> RuleNumbers::take(const Policy& policy) {
  std::vector<std::uint32_t> out;
  for_each_key(policy, [&](const std::string& key) {
    const auto [entry, is_new] = x_rules.try_emplace(key);
    if (is_new) {
      entry->second.number = next();
    }
    ++entry->second.holders;
    out.push_back(entry->second.number);
  });
  return out;
}

void RuleNumbers::leave(const Policy& policy) {
  for_each_key(policy, [&](const std::string& key) {
    const auto entry = x_rules.find(key);
    WEIR_CHECK(entry != x_rules.end());
    if (--entry->second.holders == 0) {
      x_left.push_back(entry->second.number);
      x_rules.erase(entry);
    }
  });
}

void RuleNumbers::settle() {
  x_free.insert(x_free.end(), x_left.begin(), x_left.end());
  x_left.clear();
}

} // namespace weir::policy
