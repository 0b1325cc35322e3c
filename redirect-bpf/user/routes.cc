#include "redirect-bpf/user/routes.h"

#include "proxy/base/file.h"
#include "proxy/base/log.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/netlink.h"

#include <linux/fib_rules.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

namespace weir::redirect {

namespace {

const char* family_name(std::uint8_t family) { return family == AF_INET ? "IPv4" : "IPv6"; }

NetlinkRequest rule_request(std::uint16_t type, std::uint16_t flags, std::uint8_t family) {
  fib_rule_hdr header{};
  header.family = family;
  header.action = FR_ACT_TO_TBL;
  header.table = WEIR_ROUTE_TABLE;
  NetlinkRequest request(type, flags, &header, sizeof(header));
  request.add_u32(FRA_PRIORITY, kRulePriority);
  request.add_u32(FRA_FWMARK, WEIR_MARK_TO_PROXY);
  request.add_u32(FRA_FWMASK, WEIR_MARK_MASK);
  request.add_u8(FRA_PROTOCOL, kRouteProtocol);
  return request;
}

NetlinkRequest route_request(std::uint16_t type, std::uint16_t flags, std::uint8_t family,
                             unsigned loopback) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_table = WEIR_ROUTE_TABLE;
  header.rtm_protocol = kRouteProtocol;
  header.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_LOCAL;
  NetlinkRequest request(type, flags, &header, sizeof(header));
  request.add_u32(RTA_OIF, loopback);
  return request;
}

// What deleting says when it finds nothing.
bool is_absent(const Error& error) {
  return error.code.value() == ENOENT || error.code.value() == ESRCH ||
         error.code.value() == ENODEV;
}

bool is_unsupported(const Error& error) {
  return error.code.value() == EAFNOSUPPORT || error.code.value() == EOPNOTSUPP;
}

// Whoever made a rule like ours before keeps it: the kernel's comparison leaves the protocol out.
Result<bool> has_rule(NetlinkSocket& netlink, std::uint8_t family, bool own_only) {
  fib_rule_hdr header{};
  header.family = family;
  const NetlinkRequest request(RTM_GETRULE, NLM_F_DUMP, &header, sizeof(header));
  bool found = false;
  auto dumped = netlink.dump(request, "list rules", [&](const nlmsghdr& message) {
    const rtattr* attributes[FRA_MAX + 1];
    parse_attributes(message, sizeof(fib_rule_hdr), attributes, FRA_MAX);
    const rtattr* protocol = attributes[FRA_PROTOCOL];
    const bool own = protocol != nullptr &&
                     *static_cast<const std::uint8_t*>(RTA_DATA(protocol)) == kRouteProtocol;
    found =
        found || (attribute_u32(attributes[FRA_FWMARK]) == WEIR_MARK_TO_PROXY &&
                  attribute_u32(attributes[FRA_FWMASK]) == WEIR_MARK_MASK &&
                  attribute_u32(attributes[FRA_TABLE]) == WEIR_ROUTE_TABLE && (own || !own_only));
  });
  if (!dumped) {
    return dumped.error();
  }
  return found;
}

Result<void> ensure_family(NetlinkSocket& netlink, std::uint8_t family, unsigned loopback) {
  const auto rule = has_rule(netlink, family, false);
  if (!rule) {
    return rule.error();
  }
  auto route = netlink.ask(
      route_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, family, loopback),
      std::string("add the local route, ") + family_name(family));
  if (!route && route.error().code.value() != EEXIST) {
    return route.error();
  }
  if (!*rule) {
    return netlink.ask(rule_request(RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, family),
                       std::string("add the mark's rule, ") + family_name(family));
  }
  return {};
}

Result<void> remove_family(NetlinkSocket& netlink, std::uint8_t family, unsigned loopback) {
  // The kernel deletes the first rule that fits what is asked, protocol included.
  for (;;) {
    const auto rule = has_rule(netlink, family, true);
    if (!rule) {
      return rule.error();
    }
    if (!*rule) {
      break;
    }
    auto removed = netlink.ask(rule_request(RTM_DELRULE, NLM_F_ACK, family), "remove a rule");
    if (!removed) {
      return removed.error();
    }
  }
  auto removed = netlink.ask(route_request(RTM_DELROUTE, NLM_F_ACK, family, loopback),
                             "remove the local route");
  if (!removed && !is_absent(removed.error())) {
    return removed.error();
  }
  return {};
}

template <typename Each>
Result<void> each_family(Each each) {
  auto netlink = NetlinkSocket::open(0);
  if (!netlink) {
    return netlink.error();
  }
  const unsigned loopback = ::if_nametoindex("lo");
  if (loopback == 0) {
    return errno_error("find the loopback interface");
  }
  if (auto done = each(*netlink, std::uint8_t{AF_INET}, loopback); !done) {
    return done.error();
  }
  auto done = each(*netlink, std::uint8_t{AF_INET6}, loopback);
  if (!done && is_unsupported(done.error())) {
    log::info("no IPv6 here: {}", done.error().text());
    return {};
  }
  return done;
}

} // namespace

Result<void> ensure_routes() {
  // Some CNIs set it; the reverse path of a marked packet is then looked up in our table, fails,
  // and redirected IPv4 flows get no answer.
  const auto valid_mark = read_file("/proc/sys/net/ipv4/conf/all/src_valid_mark");
  if (valid_mark && valid_mark->starts_with('1')) {
    log::warning("net.ipv4.conf.all.src_valid_mark is 1: redirected IPv4 flows will time out");
  }
  return each_family(ensure_family);
}

Result<void> remove_routes() { return each_family(remove_family); }

} // namespace weir::redirect
