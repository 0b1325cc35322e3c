// Programs on interfaces by filters of clsact, for kernels without tcx links (Debian 12's Linux
// 6.1): one an interface and direction, always under the same handle and priority. A filter holds
// its program and is found again by them, so nothing is pinned. `tc qdisc del` takes it away, as it
// does no link: Interface::losses.
//
//   ingress  priority 1      before all that the kernel numbers itself, from 0xC000 downwards
//   egress   priority 65535  behind all of it
//
// A filter of others that has this place already, and an `ingress` qdisc where clsact would have to
// be, are errors that name it: neither is taken away.
#pragma once

#include "redirect-bpf/user/interface_hooks.h"
#include "redirect-bpf/user/netlink.h"

#include <utility>

namespace weir::redirect {

class ClsactFilters final : public InterfaceHooks {
public:
  static Result<ClsactFilters> open();

  Result<void> attach(int interface, Hook hook, int program) override;
  void forget_missing(const std::map<int, Interface>& /*present*/) override {} // gone with them

private:
  explicit ClsactFilters(NetlinkSocket requests) : x_requests(std::move(requests)) {}
  Result<void> ensure_qdisc(int interface);

  NetlinkSocket x_requests;
};

// Takes weir's filters from all interfaces of the calling thread's network namespace, and a clsact
// that had one and has no filter of anybody any more. Goes on after an error and returns the first.
Result<void> remove_filters();

} // namespace weir::redirect
