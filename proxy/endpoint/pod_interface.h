// Which interface of this node leads to a pod, asked of the kernel and of no CNI: the route to the
// pod's address ends at a veth, or at a bridge whose neighbour and forwarding tables name the port.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"

#include <string>

namespace weir::endpoint {

// Empty when the kernel does not know (yet): no route, no neighbour entry, or a way that ends at no
// veth, such as the uplink. In the network namespace of the calling thread; takes microseconds.
Result<std::string> pod_interface(const IpAddress& address);

// Where the address lies behind a bridge: makes the kernel ask who has it, as it would to send
// there (NTF_USE). The answer shows in pod_interface() later. What fails is only not asked.
void ask_neighbour(const IpAddress& address);

} // namespace weir::endpoint
