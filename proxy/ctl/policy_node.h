// A cluster and its policies from files, compiled as the proxy would, but for every pod: what the
// offline commands ask.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/result.h"
#include "proxy/endpoint/identity.h"
#include "proxy/endpoint/pods.h"
#include "proxy/endpoint/registry.h"

#include <memory>
#include <string>
#include <vector>

namespace weir::ctl {

struct PolicyNode {
  endpoint::IdentityAllocator numbers{0};
  endpoint::Pods pods{numbers, [](const auto& /*pod*/) { return true; }};
  policy::CompileInput input;
  policy::CompileResult compiled;
  std::unique_ptr<endpoint::Registry> registry;
  std::size_t refused = 0; // errors in policy files; told on stderr
};

// `policies`: files and folders. `node`: name of the node whose addresses are `host`.
Result<void> load_policy_node(const std::vector<std::string>& policies,
                              const std::string& endpoints, const std::string& node,
                              PolicyNode& out);
// Only who is there: `pods`, and `input`'s endpoints and identities.
Result<std::vector<policy::Program::Prefix>> read_cluster(const std::string& file,
                                                          const std::string& node, PolicyNode& out);

} // namespace weir::ctl
