// Which programs run on which interface, and on the node's sockets, so that enforcement outlives
// the process. Knows programs and interface indexes, nothing of pods.
//
//   <bpffs>/weir/v<ABI>/links/socket: what reaches the node's own sockets; interfaces: tcx_links.h
//
// Control thread. Errors: the kernel's.
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/user/interface_hooks.h"
#include "redirect-bpf/user/interfaces.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::redirect {

enum class AttachMode { kTcx, kClsact };
[[nodiscard]] std::string_view name_of(AttachMode mode); // "tcx", "clsact"

class Attachments {
public:
  // `mode`: nothing: links of tcx where the kernel has them, else filters of clsact. It is asked
  // with `program`, any of the egress programs.
  static Result<Attachments> open(std::string bpffs, std::optional<AttachMode> mode, int program);

  [[nodiscard]] AttachMode mode() const { return x_mode; }

  // From now on these two programs run on the interface, whatever was there of weir's before. What
  // is there already, by its serial and losses, costs nothing.
  Result<void> attach(int index, const Interface& interface, int ingress_program,
                      int egress_program);
  // The same of a program of type sk_lookup, on the calling thread's network namespace.
  Result<void> attach_socket(int program);
  // Forgets interfaces that are not among `present`: what was attached to them is gone with them.
  void forget_missing(const std::map<int, Interface>& present);

private:
  struct Attached {
    std::uint64_t serial = 0, losses = 0; // Interface's
    int ingress_program = -1, egress_program = -1;
  };

  Attachments(std::string bpffs, AttachMode mode, std::unique_ptr<InterfaceHooks> hooks)
      : x_bpffs(std::move(bpffs)), x_mode(mode), x_hooks(std::move(hooks)) {}

  std::string x_bpffs;
  AttachMode x_mode;
  std::unique_ptr<InterfaceHooks> x_hooks;
  std::map<int, Attached> x_attached; // by interface
  UniqueFd x_socket;
  int x_socket_program = -1;
};

// A program of type sk_lookup in the calling thread's network namespace, for as long as the link
// lives: it is about sockets of this process.
Result<UniqueFd> attach_lookup(int program);

// Detaches and unpins every link below `folder` ("…/links").
void detach_all(const std::string& folder);

} // namespace weir::redirect
