// The network interfaces of this namespace, as they come and go. Tells who is there; knows nothing
// of pods or programs.
//
// One thread; the descriptor can be polled on an io_context. Source: rtnetlink(7), RTM_NEWLINK.
#pragma once

#include "proxy/base/result.h"
#include "redirect-bpf/user/netlink.h"

#include <cstdint>
#include <map>
#include <string>

namespace weir::redirect {

struct Interface {
  std::string name;
  bool loopback = false;
  bool veth = false;
  bool bridge = false;
  int master = 0; // index of what it is a port of; 0: of nothing
  // Another for each that appears: a new interface may have the index of one that is gone. All have
  // new ones after news was lost.
  std::uint64_t serial = 0;
  // Another when one of its filters or qdiscs was taken away, where that is watched: weir's may be
  // gone with it.
  std::uint64_t losses = 0;

  bool operator==(const Interface&) const = default;
};

class Interfaces {
public:
  // Subscribes first and lists then, so that none is missed in between. `filters`: watches for
  // filters and qdiscs that are taken away, too.
  static Result<Interfaces> open(bool filters = false);

  [[nodiscard]] int fd() const { return x_events.fd(); }
  // By index.
  [[nodiscard]] const std::map<int, Interface>& all() const { return x_all; }
  [[nodiscard]] int index_of(const std::string& name) const; // 0: not there

  // Takes in what has happened. True when all() differs from before.
  Result<bool> update();

private:
  Interfaces(NetlinkSocket events, NetlinkSocket requests)
      : x_events(std::move(events)), x_requests(std::move(requests)) {}
  Result<void> list();
  bool apply(const nlmsghdr& message, std::map<int, Interface>& all);

  NetlinkSocket x_events, x_requests;
  std::map<int, Interface> x_all;
  std::uint64_t x_last_serial = 0;
};

} // namespace weir::redirect
