// Programs on interfaces by tcx links (Linux 6.6), one an interface and direction. What keeps them
// when the process ends are their pins:
//
//   <bpffs>/weir/v<ABI>/links/i<index>_ingress, …_egress
#pragma once

#include "proxy/base/unique_fd.h"
#include "redirect-bpf/user/interface_hooks.h"

#include <linux/bpf.h>

#include <string>
#include <utility>

namespace weir::redirect {

// BPF_TCX_INGRESS and BPF_TCX_EGRESS: newer than the headers of Linux 6.1.
inline constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
inline constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);

class TcxLinks final : public InterfaceHooks {
public:
  explicit TcxLinks(std::string bpffs) : x_bpffs(std::move(bpffs)) {}

  // Does the kernel have them? `program`: any for egress, which loopback has for a moment.
  static Result<bool> supported(int program);

  Result<void> attach(int interface, Hook hook, int program) override;
  void forget_missing(const std::map<int, Interface>& present) override;

private:
  std::string x_bpffs;
  std::map<std::pair<int, Hook>, UniqueFd> x_links;
};

} // namespace weir::redirect
