// As whom weir speaks to a server for a pod.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/runtime/worker.h"

#include <optional>

namespace weir::session {

// The client's own address; nothing, which is weir's own, where the server is this node itself (its
// own addresses, by the worker's newest snapshot): a server here sends its answers to the pod
// straight through the pod's interface, and weir would never see them. Such a server sees the
// node's address.
[[nodiscard]] std::optional<IpAddress> source_towards(const runtime::Worker& worker,
                                                      ClientAddr client, OriginalDst server);

} // namespace weir::session
