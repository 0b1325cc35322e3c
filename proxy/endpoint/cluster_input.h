// What else of a cluster the compiler and the Registry want beside its pods (pods.h): services, and
// the cells of the nodes' addresses. The running proxy and the commands that read files take the
// same way, so that they cannot answer differently.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/endpoint/cluster.h"

#include <string_view>
#include <vector>

namespace weir::endpoint {

// Adds what toServices may name, and the API servers that are no nodes.
void add_services(const ClusterSpec& cluster, policy::CompileInput& input);

// `here`: the node whose addresses are `host`; those of the others are `remote-node`, or
// `kube-apiserver`, which includes it.
[[nodiscard]] std::vector<policy::Program::Prefix> node_prefixes(const ClusterSpec& cluster,
                                                                 std::string_view here);

} // namespace weir::endpoint
