#include "proxy/control/uplinks.h"

#include "redirect-bpf/user/netlink.h"

#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>

namespace weir::control {
namespace {

using redirect::attribute_u32;

bool leads_further(const rtmsg& route, const rtattr* destination) {
  if (route.rtm_type != RTN_UNICAST || route.rtm_table == RT_TABLE_LOCAL) {
    return false;
  }
  if (route.rtm_family == AF_INET) {
    return route.rtm_dst_len < 32;
  }
  if (destination != nullptr && RTA_PAYLOAD(destination) >= 2) {
    const auto* bytes = static_cast<const std::uint8_t*>(RTA_DATA(destination));
    if (bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80)) {
      return false; // every interface has these
    }
  }
  return route.rtm_dst_len < 128;
}

void add_interface(std::uint32_t index, std::set<std::string>& names) {
  std::array<char, IF_NAMESIZE> name{};
  if (index != 0 && ::if_indextoname(index, name.data()) != nullptr) {
    names.emplace(name.data());
  }
}

void add_route(const nlmsghdr& message, std::set<std::string>& names) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) {
    return;
  }
  const auto& route = *static_cast<const rtmsg*>(NLMSG_DATA(&message));
  const rtattr* attributes[RTA_MULTIPATH + 1];
  redirect::parse_attributes(message, sizeof(rtmsg), attributes, RTA_MULTIPATH);
  if (!leads_further(route, attributes[RTA_DST])) {
    return;
  }
  add_interface(attribute_u32(attributes[RTA_OIF]), names);
  if (const rtattr* several = attributes[RTA_MULTIPATH]) {
    auto left = static_cast<int>(RTA_PAYLOAD(several));
    for (const auto* hop = static_cast<const rtnexthop*>(RTA_DATA(several)); RTNH_OK(hop, left);
         left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
      add_interface(static_cast<std::uint32_t>(hop->rtnh_ifindex), names);
    }
  }
}

} // namespace

Result<std::set<std::string>> uplinks() {
  auto socket = redirect::NetlinkSocket::open(0);
  if (!socket) {
    return socket.error();
  }
  std::set<std::string> names;
  for (const int family : {AF_INET, AF_INET6}) {
    rtmsg header{};
    header.rtm_family = static_cast<unsigned char>(family);
    const redirect::NetlinkRequest request(RTM_GETROUTE, NLM_F_DUMP, &header, sizeof header);
    auto dumped = socket->dump(request, "list routes",
                               [&](const nlmsghdr& message) { add_route(message, names); });
    if (!dumped) {
      return dumped.error();
    }
  }
  return names;
}

} // namespace weir::control
