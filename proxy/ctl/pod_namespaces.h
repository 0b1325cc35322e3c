// The network namespaces of this node's pods, by the host side of their interfaces: the kernel
// knows in which namespace the other end of a veth is, so no container runtime is asked. Needs
// root, the node's network namespace, and its processes in /proc (hostPID).
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace weir::ctl {

class PodNamespaces {
public:
  // All that processes are in or that have a name under /run/netns.
  static Result<PodNamespaces> find();

  // Runs it on a thread inside the namespace that the interface leads to.
  [[nodiscard]] Result<void> inside(const std::string& interface,
                                    const std::function<void()>& work) const;

private:
  std::map<std::int32_t, UniqueFd> x_by_number; // as this namespace numbers the others
};

} // namespace weir::ctl
