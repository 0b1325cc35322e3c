#include "proxy/control/identity_rows.h"

#include <utility>

namespace weir::control {

void IdentityRows::settle(const IpPrefix& prefix) {
  const bool host = prefix == IpPrefix::host(prefix.address());
  if (const auto* pod = host ? x_pods.find(prefix.address()) : nullptr) {
    x_rows.set(prefix, (*pod)->identity);
  } else if (const auto cell = x_cells.find(prefix); cell != x_cells.end()) {
    x_rows.set(prefix, cell->second);
  } else {
    x_rows.erase(prefix);
  }
}

redirect::IdentityRows
IdentityRows::update(const endpoint::EndpointsByAddress& pods,
                     const std::shared_ptr<const endpoint::PrefixTable>& prefixes) {
  const auto before = std::exchange(x_pods, pods);
  endpoint::EndpointsByAddress::for_each_difference(
      before, pods, [&](const IpAddress& address, const auto* /*before*/, const auto* /*after*/) {
        settle(IpPrefix::host(address));
      });
  if (prefixes != x_prefixes) {
    x_prefixes = prefixes;
    Cells cells;
    for (const auto& [prefix, identity] : prefixes->prefixes()) {
      cells.emplace(prefix, identity); // the first stands, as in the PrefixTable
    }
    std::swap(x_cells, cells);
    for (const auto* some : {&cells, &x_cells}) {
      for (const auto& [prefix, identity] : *some) {
        settle(prefix);
      }
    }
  }
  return x_rows.take();
}

} // namespace weir::control
