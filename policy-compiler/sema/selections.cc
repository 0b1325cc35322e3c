#include "policy-compiler/sema/selections.h"

namespace weir::policy {

void Selections::look_up_again(const Universe& universe) {
  for (auto& [key, selection] : x_selections) {
    IdentitySet now = selection->look_up(universe);
    if (now != *selection->set) {
      selection->set = std::make_shared<const IdentitySet>(std::move(now));
    }
  }
}

void Selections::drop_unused() {
  std::erase_if(x_selections, [](const auto& entry) { return entry.second.use_count() == 1; });
}

} // namespace weir::policy
