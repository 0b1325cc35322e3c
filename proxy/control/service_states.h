// Services as the data path wants them: each address and port with the pods or addresses behind it.
// Pure; any thread.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "redirect-bpf/user/redirector.h"

#include <functional>
#include <vector>

namespace weir::control {

// A pod is a backend when all of the selector's labels are its own and it has the port: a target
// port's name means the pod's port of that name. A service without a selector leads to its listed
// endpoints. Where the cluster says itself where a service leads, that counts. `guarded`: is this
// the address of a pod of this node whose ingress is enforced?
[[nodiscard]] std::vector<redirect::ServiceState>
service_states(const endpoint::ClusterSpec& cluster,
               const std::function<bool(const IpAddress&)>& guarded);

} // namespace weir::control
