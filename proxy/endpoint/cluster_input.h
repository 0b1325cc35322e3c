// A cluster as the compiler and the Registry want it: pods with their numbers, identities, named
// ports, services, and the cells of the nodes' addresses. The running proxy and the commands that
// read files take the same way, so that they cannot answer differently.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/identity.h"
#include "proxy/endpoint/registry.h"

#include <functional>
#include <string_view>
#include <vector>

namespace weir::endpoint {

// Adds every pod's identity and named ports to `input`, and those that are `judged` here as its
// endpoints. The pods, for the Registry.
std::vector<Endpoint> add_pods(const ClusterSpec& cluster, IdentityAllocator& numbers,
                               const std::function<bool(const Endpoint&)>& judged,
                               policy::CompileInput& input);

// Adds what toServices may name, and the API servers that are no nodes.
void add_services(const ClusterSpec& cluster, policy::CompileInput& input);

// `here`: the node whose addresses are `host`; those of the others are `remote-node`, or
// `kube-apiserver`, which includes it.
[[nodiscard]] std::vector<policy::Program::Prefix> node_prefixes(const ClusterSpec& cluster,
                                                                 std::string_view here);

} // namespace weir::endpoint
