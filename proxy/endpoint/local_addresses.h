// The addresses that this node itself has, on whatever interface. What comes from them is the
// node's own (kubelet's probes), and policy knows it as the entity `host`.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"

#include <vector>

namespace weir::endpoint {

// In the network namespace of the calling thread.
Result<std::vector<IpAddress>> local_addresses();

} // namespace weir::endpoint
