// Programs on interfaces: one tcx link an interface and direction, pinned, so that enforcement
// outlives the process. Knows programs and interface indexes, nothing of pods.
//
//   <folder>/links/i<index>_ingress, …_egress, and socket: what reaches the node's own sockets
//
// A link that is there, of this or of another ABI version, is given the new program in one step
// (bpf_link_update): no packet passes between two programs. Control thread. Errors: the kernel's.
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/user/interfaces.h"

#include <cstdint>
#include <map>
#include <string>

namespace weir::redirect {

enum class TcxHook { kIngress, kEgress };

class Attachments {
public:
  explicit Attachments(std::string bpffs) : x_bpffs(std::move(bpffs)) {}

  // tcx needs Linux 6.6; says so where it is missing. `program` is any of the egress programs.
  static Result<void> probe(int program);

  // From now on these two programs run on the interface, whatever was there of weir's before.
  // `serial`: Interface::serial, by which another interface of the same index is known.
  Result<void> attach(int interface, std::uint64_t serial, int ingress_program, int egress_program);
  // The same of a program of type sk_lookup, on the calling thread's network namespace.
  Result<void> attach_socket(int program);
  // Takes the pins of interfaces that are not among `present`: their links died with them.
  void forget_missing(const std::map<int, Interface>& present);

private:
  struct Hooks {
    std::uint64_t serial = 0;
    UniqueFd ingress, egress;
    int ingress_program = -1, egress_program = -1;
  };

  Result<void> attach_one(int interface, TcxHook hook, int program, UniqueFd& link);

  std::string x_bpffs;
  std::map<int, Hooks> x_hooks; // by interface
  UniqueFd x_socket;
  int x_socket_program = -1;
};

// A program of type sk_lookup in the calling thread's network namespace, for as long as the link
// lives: it is about sockets of this process.
Result<UniqueFd> attach_lookup(int program);

// Detaches and unpins every link below `folder` ("…/links").
void detach_all(const std::string& folder);

} // namespace weir::redirect
