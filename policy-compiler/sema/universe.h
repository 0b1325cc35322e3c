// Everybody a policy can speak of: reserved identities, pods, and one cell for each prefix that
// some policy names. Answers which of them a selector, an entity or a prefix matches.
//
// An outside address belongs to the longest named prefix that contains it; its cell stands for it.
// So a CIDR matches a cell exactly when it contains the cell's prefix, and prefixes may overlap.
//
// Lives as long as what was computed from it: everybody keeps their place in IdentitySets through
// all updates, and a place that fell free is nobody's any more. So a set that is the same before
// and after an update means the same identities.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/runtime/compiled.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::policy {

class Universe {
public:
  // `prefixes`: all that the policies name, sorted, each once.
  Universe(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
           PrefixIdentities& prefix_identities);

  enum class Update : std::uint8_t {
    kSame,
    kChanged, // somebody has come, gone or got other labels
    kFull,    // no room for another place, or options differ: make a new Universe
  };
  // After kFull it is not to be used any more.
  [[nodiscard]] Update update(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
                              PrefixIdentities& prefix_identities);

  [[nodiscard]] std::size_t size() const { return x_members.size(); } // places, also free ones
  [[nodiscard]] IdentityId id_of(std::size_t place) const { return x_members[place].id; }
  [[nodiscard]] std::shared_ptr<const IdentityTable> table() const { return x_table; }
  [[nodiscard]] const std::vector<Program::Prefix>& cells() const { return x_cells; }

  [[nodiscard]] IdentitySet nobody() const { return IdentitySet(x_room); }
  [[nodiscard]] IdentitySet select(const LabelSelector& selector) const;
  [[nodiscard]] IdentitySet select(Entity entity) const;
  // Cells inside the prefix and outside of all excepts.
  [[nodiscard]] IdentitySet inside(const IpPrefix& prefix,
                                   const std::vector<IpPrefix>& excepts) const;

private:
  using Places = std::vector<std::uint32_t>;
  struct Member {
    IdentityId id = 0;
    std::shared_ptr<const Labels> labels;
    std::uint64_t wanted_in = 0; // the last update that knew it
    bool present = false;
  };
  // Who has one value of a key. Long lists are kept as a set as well.
  struct Holders {
    Places places;
    IdentitySet wide;
  };
  struct Key {
    IdentitySet has;
    std::unordered_map<std::string, Holders> values;
  };

  [[nodiscard]] bool settle(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
                            PrefixIdentities& prefix_identities);
  void want_reserved();
  void want(IdentityId id, const std::shared_ptr<const Labels>& labels);
  void leave_unwanted();
  void place(std::uint32_t place, bool present);
  void index(std::uint32_t place, const std::string& key, const std::string& value);
  void forget(std::uint32_t place, const std::string& key, const std::string& value);
  [[nodiscard]] IdentitySet with(const std::string& key) const;
  [[nodiscard]] IdentitySet with(const std::string& key,
                                 const std::vector<std::string>& values) const;

  CompileOptions x_options;
  std::size_t x_room = 0; // places that IdentitySets have
  std::uint64_t x_updates = 0;
  bool x_changed = false;
  std::vector<Member> x_members; // by place
  std::size_t x_present = 0;
  std::unordered_map<IdentityId, std::uint32_t> x_places; // of all that ever were
  IdentitySet x_everybody;
  std::shared_ptr<const IdentityTable> x_table;
  std::unordered_map<std::string, Key> x_keys;
  std::vector<Program::Prefix> x_cells; // sorted by prefix
  std::vector<std::uint32_t> x_cell_places;
};

} // namespace weir::policy
