#include "redirect-bpf/user/interfaces.h"

#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>

namespace weir::redirect {

namespace {

int index_in(const rtattr* attribute) {
  int index = 0;
  if (attribute != nullptr && RTA_PAYLOAD(attribute) >= sizeof(index)) {
    std::memcpy(&index, RTA_DATA(attribute), sizeof(index));
  }
  return index;
}

bool note_loss(const nlmsghdr& message, std::map<int, Interface>& all) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg))) {
    return false;
  }
  const auto known = all.find(static_cast<const tcmsg*>(NLMSG_DATA(&message))->tcm_ifindex);
  if (known == all.end()) {
    return false;
  }
  ++known->second.losses;
  return true;
}

} // namespace

Result<Interfaces> Interfaces::open(bool filters) {
  auto events = NetlinkSocket::open(filters ? RTMGRP_LINK | RTMGRP_TC : RTMGRP_LINK);
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
  if (message.nlmsg_type == RTM_DELTFILTER || message.nlmsg_type == RTM_DELQDISC) {
    return note_loss(message, all);
  }
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
  const rtattr* attributes[IFLA_LINKINFO + 1];
  parse_attributes(message, sizeof(ifinfomsg), attributes, IFLA_LINKINFO);
  const rtattr* name = attributes[IFLA_IFNAME];
  if (name == nullptr) {
    return false;
  }
  // "veth", "bridge", …; empty for hardware.
  const auto kind = attribute_text(attribute_within(attributes[IFLA_LINKINFO], IFLA_INFO_KIND));
  Interface interface{std::string(attribute_text(name)), (info->ifi_flags & IFF_LOOPBACK) != 0,
                      kind == "veth", kind == "bridge", index_in(attributes[IFLA_MASTER])};
  auto [entry, added] = all.try_emplace(info->ifi_index);
  interface.serial = added ? ++x_last_serial : entry->second.serial;
  interface.losses = entry->second.losses;
  if (!added && entry->second == interface) {
    return false; // up, down, statistics
  }
  entry->second = std::move(interface);
  return true;
}

} // namespace weir::redirect
