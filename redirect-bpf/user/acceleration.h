// Joined sockets (bpf/join.bpf.c) from the user half: loads and attaches the programs, tells the
// proxy's listeners, switches on and off. Knows no pod: which ones may be joined is a flag of
// weir_endpoints.
//
// The maps are pinned, so that what waits in a pod's queue is not lost with the process; the
// program that finds new sockets is not, so that nobody is joined while no weir is there. Sockets
// of pods that were joined go on by TCP when the proxy's end is gone.
//
// Where the kernel cannot, open() says why, and everything goes by TCP.
// Control thread. In the node's network namespace.
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <cstdint>
#include <memory>
#include <string>

struct bpf_link;
struct join; // the generated skeleton NOLINT(readability-identifier-naming)

namespace weir::redirect {

class Acceleration {
public:
  // `folder`: where the data path's maps are pinned. Loads, and tries what the kernel can do; joins
  // nothing yet.
  static Result<Acceleration> open(const std::string& folder);

  // From now on what this socket accepts may be joined.
  Result<void> add_listener(int listener);
  // On: connections that are established from now on may be joined, and messages between joined
  // sockets go the short way. Off: none of both.
  Result<void> set_enabled(bool enabled);

  // Redirector::leave_acceleration(); any thread.
  [[nodiscard]] bool leave(int proxys) const;

  struct Counts {
    std::uint64_t of[WEIR_JOIN_COUNT_MAX] = {};
  };
  [[nodiscard]] Result<Counts> counts() const;

private:
  struct Destroy {
    void operator()(join* skeleton) const;
    void operator()(bpf_link* link) const;
  };

  Acceleration() = default;
  Result<void> check_kernel();
  [[nodiscard]] std::uint32_t ask_about(const weir_join_key& pod) const; // enum weir_join_rest
  void take_out(const weir_join_key& end) const;

  std::unique_ptr<join, Destroy> x_skeleton;
  UniqueFd x_cgroup; // the root
  std::unique_ptr<bpf_link, Destroy> x_link;
};

} // namespace weir::redirect
