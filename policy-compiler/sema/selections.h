// Sets of identities by what selects them: each selector, entity or prefix is looked up once,
// however many rules write it, and again only when the universe has changed. A set that is then the
// same stays the same object, so that what was made from it need not be made again.
//
// Control thread.
#pragma once

#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/universe.h"

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

namespace weir::policy {

struct Selection {
  std::function<IdentitySet(const Universe&)> look_up;
  std::shared_ptr<const IdentitySet> set;
};

class Selections {
public:
  // `look_up` is called once for each key; it holds nothing that may go away.
  template <typename LookUp>
  std::shared_ptr<const Selection> find(const std::string& key, const Universe& universe,
                                        LookUp&& look_up) {
    auto& found = x_selections[key];
    if (found == nullptr) {
      found = std::make_shared<Selection>();
      found->look_up = std::forward<LookUp>(look_up);
      found->set = std::make_shared<const IdentitySet>(found->look_up(universe));
    }
    return found;
  }

  // After an update of the universe.
  void look_up_again(const Universe& universe);
  // Those that nobody holds.
  void drop_unused();

private:
  std::unordered_map<std::string, std::shared_ptr<Selection>> x_selections;
};

} // namespace weir::policy
