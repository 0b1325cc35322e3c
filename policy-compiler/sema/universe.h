// Everybody a policy can speak of: reserved identities, pods, and one cell for each prefix that
// some policy names. Answers which of them a selector, an entity or a prefix matches.
//
// An outside address belongs to the longest named prefix that contains it; its cell stands for it.
// So a CIDR matches a cell exactly when it contains the cell's prefix, and prefixes may overlap.
//
// Built once a compile, then only read.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::policy {

class Universe {
public:
  // `prefixes`: all that the policies name.
  Universe(const CompileInput& input, const std::set<IpPrefix>& prefixes,
           PrefixIdentities& prefix_identities);

  [[nodiscard]] std::size_t size() const { return x_ids.size(); } // places, reserved ones included
  [[nodiscard]] IdentityId id_of(std::size_t place) const { return x_ids[place]; }
  [[nodiscard]] std::shared_ptr<const IdentityTable> table() const { return x_table; }
  [[nodiscard]] const std::vector<Program::Prefix>& cells() const { return x_cells; }

  [[nodiscard]] IdentitySet nobody() const { return IdentitySet(x_expected); }
  [[nodiscard]] IdentitySet select(const LabelSelector& selector) const;
  [[nodiscard]] IdentitySet select(Entity entity) const;
  // Cells inside the prefix and outside of all excepts.
  [[nodiscard]] IdentitySet inside(const IpPrefix& prefix,
                                   const std::vector<IpPrefix>& excepts) const;

private:
  using Places = std::vector<std::uint32_t>;
  struct Key {
    IdentitySet has;
    std::unordered_map<std::string, Places> values;
  };

  void add(IdentityId id, const Labels& labels);
  void index(std::uint32_t place, const std::string& key, const std::string& value);
  void add_reserved();
  [[nodiscard]] IdentitySet with(const std::string& key) const;
  [[nodiscard]] IdentitySet with(const std::string& key,
                                 const std::vector<std::string>& values) const;

  const CompileOptions& x_options;
  std::size_t x_expected = 0; // members, known before the index is built
  std::vector<IdentityId> x_ids;
  IdentitySet x_everybody;
  std::shared_ptr<IdentityTable> x_table = std::make_shared<IdentityTable>();
  std::unordered_map<std::string, Key> x_keys;
  std::vector<Program::Prefix> x_cells; // sorted by prefix
  std::vector<std::uint32_t> x_cell_places;
};

} // namespace weir::policy
