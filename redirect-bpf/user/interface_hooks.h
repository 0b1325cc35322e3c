// Where programs run on an interface, and who puts them there: tcx links (tcx_links.h), or filters
// where the kernel has no such links (clsact_filters.h). Either way a program sees the same packets
// and its verdicts mean the same.
//
// Control thread, in the node's network namespace.
#pragma once

#include "proxy/base/result.h"
#include "redirect-bpf/user/interfaces.h"

#include <map>

namespace weir::redirect {

enum class Hook { kIngress, kEgress };

class InterfaceHooks {
public:
  virtual ~InterfaceHooks() = default;

  // From now on this program runs there, and goes on when the process has ended. First of all on
  // the way in, last on the way out: the pod's packets are judged as it sent them, and as it is
  // about to get them. In place of weir's that is there already, of this or of another ABI version:
  // in one step, no packet passes between the two. Errors: the kernel's, ENODEV where there is no
  // such interface.
  virtual Result<void> attach(int interface, Hook hook, int program) = 0;
  // Drops what is kept of interfaces that are not among these.
  virtual void forget_missing(const std::map<int, Interface>& present) = 0;
};

} // namespace weir::redirect
