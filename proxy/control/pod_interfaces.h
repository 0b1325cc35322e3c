// Which interfaces lead to the pods of this node, kept true as routes, neighbours and interfaces
// come and go. What the kernel does not say is not known: such a pod is held (controller.h).
//
//   event of a link or route ──▶ every pod is looked for anew
//   event of a neighbour     ──▶ those that are missing
//   no event for kAskAgain   ──▶ those that are missing, and bridges are made to ask for them
//
// Control thread, in the node's network namespace.
#pragma once

#include "proxy/base/result.h"
#include "proxy/endpoint/cluster.h"
#include "redirect-bpf/user/netlink.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weir::control {

class PodInterfaces {
public:
  // Events that come together are looked at once.
  static constexpr std::chrono::milliseconds kGather{5};
  static constexpr std::chrono::milliseconds kAskAgain{1000};

  // `changed`: place() would now give another answer. `routed`: routes or interfaces have come or
  // gone.
  static Result<std::unique_ptr<PodInterfaces>> open(boost::asio::io_context& context,
                                                     std::function<void()> changed,
                                                     std::function<void()> routed);
  ~PodInterfaces();
  PodInterfaces(const PodInterfaces&) = delete;
  PodInterfaces& operator=(const PodInterfaces&) = delete;

  // The same pods, the local ones with their interfaces; forgets those that are not among them.
  // Costs what differs from the last time, and the local pods.
  endpoint::PodMap place(const endpoint::PodMap& pods);

  // Names of pods whose interface is not known.
  [[nodiscard]] std::vector<std::string> missing() const;

private:
  struct Place {
    std::vector<IpAddress> addresses;
    std::string interface;
  };

  PodInterfaces(boost::asio::io_context& context, redirect::NetlinkSocket events,
                std::function<void()> changed, std::function<void()> routed);
  static std::string find(const std::vector<IpAddress>& addresses, bool ask);
  void await_event();
  void look(bool ask);
  void look_soon();
  void ask_later();

  redirect::NetlinkSocket x_events;
  boost::asio::posix::stream_descriptor x_readable; // of x_events
  boost::asio::steady_timer x_soon, x_later;
  std::function<void()> x_changed, x_routed;
  std::map<std::string, Place> x_places; // local pods, by "namespace/name"
  endpoint::PodMap x_pods;               // as place() was given them
  endpoint::PodMap::Editor x_placed{{}}; // as it gave them back
  bool x_pending = false, x_verify = false;
};

} // namespace weir::control
