#include "proxy/control/pod_interfaces.h"

#include "proxy/base/log.h"
#include "proxy/endpoint/pod_interface.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace weir::control {
namespace {

constexpr std::uint32_t kGroups =
    RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

bool is_neighbour(const nlmsghdr& message) {
  return message.nlmsg_type == RTM_NEWNEIGH || message.nlmsg_type == RTM_DELNEIGH;
}

} // namespace

Result<std::unique_ptr<PodInterfaces>> PodInterfaces::open(boost::asio::io_context& context,
                                                           std::function<void()> changed,
                                                           std::function<void()> routed) {
  auto events = redirect::NetlinkSocket::open(kGroups);
  if (!events) {
    return events.error();
  }
  return std::unique_ptr<PodInterfaces>(
      new PodInterfaces(context, std::move(*events), std::move(changed), std::move(routed)));
}

PodInterfaces::PodInterfaces(boost::asio::io_context& context, redirect::NetlinkSocket events,
                             std::function<void()> changed, std::function<void()> routed)
    : x_events(std::move(events)), x_readable(context, x_events.fd()), x_soon(context),
      x_later(context), x_changed(std::move(changed)), x_routed(std::move(routed)) {
  await_event();
}

PodInterfaces::~PodInterfaces() { static_cast<void>(x_readable.release()); } // the socket's own

void PodInterfaces::await_event() {
  x_readable.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                        [this](boost::system::error_code failed) {
                          if (failed) {
                            return;
                          }
                          bool neighbours = false;
                          const auto complete = x_events.receive([&](const nlmsghdr& message) {
                            (is_neighbour(message) ? neighbours : x_verify) = true;
                          });
                          if (!complete) {
                            log::error("routes: {}", complete.error().text());
                          }
                          x_verify = x_verify || !complete || !*complete;
                          if (x_verify || neighbours) {
                            look_soon();
                          }
                          await_event();
                        });
}

void PodInterfaces::look_soon() {
  if (std::exchange(x_pending, true)) {
    return;
  }
  x_soon.expires_after(kGather);
  x_soon.async_wait([this](boost::system::error_code failed) {
    if (!failed) {
      x_pending = false;
      look(false);
    }
  });
}

void PodInterfaces::ask_later() {
  const bool missing = std::any_of(x_places.begin(), x_places.end(), [](const auto& place) {
    return place.second.interface.empty();
  });
  if (!missing) {
    x_later.cancel();
    return;
  }
  x_later.expires_after(kAskAgain);
  x_later.async_wait([this](boost::system::error_code failed) {
    if (!failed) {
      look(true);
    }
  });
}

void PodInterfaces::look(bool ask) {
  const bool verify = std::exchange(x_verify, false);
  if (verify) {
    x_routed();
  }
  bool changed = false;
  for (auto& [name, place] : x_places) {
    if (verify || place.interface.empty()) {
      std::string found = find(place.addresses, ask);
      changed = changed || found != place.interface;
      place.interface = std::move(found);
    }
  }
  ask_later();
  if (changed) {
    x_changed();
  }
}

std::string PodInterfaces::find(const std::vector<IpAddress>& addresses, bool ask) {
  for (const auto& address : addresses) {
    auto found = endpoint::pod_interface(address);
    if (!found) {
      log::error("{}", found.error().text());
    } else if (!found->empty()) {
      return std::move(*found);
    } else if (ask) {
      endpoint::ask_neighbour(address);
    }
  }
  return "";
}

endpoint::PodMap PodInterfaces::place(const endpoint::PodMap& pods) {
  endpoint::PodMap::for_each_difference(
      x_pods, pods, [&](const std::string& name, const auto* /*before*/, const auto* after) {
        if (after == nullptr) {
          x_placed.erase(name);
          x_places.erase(name);
          return;
        }
        x_placed.set(name, *after);
        const auto& [addresses, local] = std::tie((*after)->addresses, (*after)->local);
        if (!local || addresses.empty()) {
          x_places.erase(name);
          return;
        }
        Place& place = x_places[name];
        if (place.addresses != addresses) {
          place = {addresses, ""};
        }
        if (place.interface.empty()) {
          place.interface = find(addresses, true);
        }
      });
  x_pods = pods;
  for (const auto& [name, place] : x_places) {
    if ((*x_placed.find(name))->interface != place.interface) {
      auto placed = std::make_shared<endpoint::PodSpec>(**pods.find(name));
      placed->interface = place.interface;
      x_placed.set(name, std::move(placed));
    }
  }
  ask_later();
  return x_placed.take();
}

std::vector<std::string> PodInterfaces::missing() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : x_places) {
    if (place.interface.empty()) {
      names.push_back(name);
    }
  }
  return names;
}

} // namespace weir::control
