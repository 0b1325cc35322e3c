// An endpoint's filters → the rows that the kernel looks up (redirect-bpf/abi/weir_abi.h). Within
// one identity only the longest match answers, so each row carries what every wider row of the
// same identity says of it, joined: deny beats redirect beats allow.
#pragma once

#include "policy-compiler/runtime/compiled.h"
#include "policy-compiler/sema/universe.h"

#include <vector>

namespace weir::policy {

// Of the directions that are enforced, sorted by direction, identity and place. observe_dns: plain
// allows of port 53 outwards are redirects here, as the proxy is to see the questions; it judges by
// the filters and lets them pass.
[[nodiscard]] std::vector<EndpointPolicy::Row>
lower_rows(const LoweredEndpoint& endpoint, const Universe& universe, bool observe_dns);

// The same for the lookup that audit mode adds, from the policies that are enforced alone: complete
// for both directions.
[[nodiscard]] std::vector<EndpointPolicy::Row>
lower_unaudited_rows(const LoweredEndpoint& endpoint, const Universe& universe, bool observe_dns);

} // namespace weir::policy
