// Which interfaces lead to more than one host: the node's way to others, as told from a pod's. The
// uplink of a node that is itself a container is a veth, too; only its routes differ.
#pragma once

#include "proxy/base/result.h"

#include <set>
#include <string>

namespace weir::control {

// Names of those that a route leads to which is not for a single address, link-local and multicast
// ones not counted. In the network namespace of the calling thread; takes microseconds.
Result<std::set<std::string>> uplinks();

} // namespace weir::control
