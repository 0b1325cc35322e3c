#include "redirect-bpf/user/interfaces.h"

#include <net/if.h>
#include <sys/socket.h>

#include <cstring>

namespace weir::redirect {

Result<Interfaces> Interfaces::open() {
  auto events = NetlinkSocket::open(RTMGRP_LINK);
  if (!events) {
    return events.error();
  }
  auto requests = NetlinkSocket::open(0);
  if (!requests) {
    return requests.error();
  }
  Interfaces interfaces(std::move(*events), std::move(*requests));
  if (auto listed = interfaces.list(); !listed) {
    return listed.error();
  }
  return interfaces;
}

int Interfaces::index_of(const std::string& name) const {
  for (const auto& [index, interface] : x_all) {
    if (interface.name == name) {
      return index;
    }
  }
  return 0;
}

Result<bool> Interfaces::update() {
  bool changed = false;
  auto complete = x_events.receive(
      [&](const nlmsghdr& message) { changed = apply(message, x_all) || changed; });
  if (!complete) {
    return complete.error();
  }
  if (!*complete) {
    if (auto listed = list(); !listed) {
      return listed.error();
    }
    changed = true;
  }
  return changed;
}

Result<void> Interfaces::list() {
  ifinfomsg header{};
  const NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
  std::map<int, Interface> all;
  auto dumped = x_requests.dump(request, "list interfaces",
                                [&](const nlmsghdr& message) { apply(message, all); });
  if (dumped) {
    x_all = std::move(all);
  }
  return dumped;
}

bool Interfaces::apply(const nlmsghdr& message, std::map<int, Interface>& all) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg))) {
    return false;
  }
  const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(&message));
  // A bridge reports its ports under a family of its own, also as "deleted".
  if (info->ifi_family != AF_UNSPEC) {
    return false;
  }
  if (message.nlmsg_type == RTM_DELLINK) {
    return all.erase(info->ifi_index) != 0;
  }
  if (message.nlmsg_type != RTM_NEWLINK) {
    return false;
  }
  const rtattr* attributes[IFLA_IFNAME + 1];
  parse_attributes(message, sizeof(ifinfomsg), attributes, IFLA_IFNAME);
  const rtattr* name = attributes[IFLA_IFNAME];
  if (name == nullptr) {
    return false;
  }
  const auto* text = static_cast<const char*>(RTA_DATA(name));
  Interface interface{std::string(text, ::strnlen(text, RTA_PAYLOAD(name))),
                      (info->ifi_flags & IFF_LOOPBACK) != 0};
  auto [entry, added] = all.try_emplace(info->ifi_index);
  if (!added && entry->second.name == interface.name) {
    return false; // up, down, statistics
  }
  entry->second = std::move(interface);
  return true;
}

} // namespace weir::redirect
