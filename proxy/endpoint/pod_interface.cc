#include "proxy/endpoint/pod_interface.h"

#include "proxy/base/unique_fd.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace weir::endpoint {
namespace {

using Attributes = std::array<std::string_view, 64>; // by type; empty: absent
using Mac = std::string;

// One request and its answers, so that each question has a socket of its own and no stale answer
// can be taken for another's.
class Question {
public:
  template <typename Header>
  Question(std::uint16_t type, std::uint16_t flags, const Header& header) {
    nlmsghdr message{};
    message.nlmsg_type = type;
    message.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    append(&message, sizeof message);
    append(&header, sizeof header);
  }

  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    rtattr attribute{};
    attribute.rta_type = type;
    attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
    append(&attribute, sizeof attribute);
    append(data, size);
    x_bytes.resize(NLMSG_ALIGN(x_bytes.size()));
  }

  // `each` sees every answer's header and attributes. An answer of ENOENT or "unreachable" is none.
  template <typename Header>
  Result<void> ask(const std::function<void(const Header&, const Attributes&)>& each) {
    const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (socket.get() < 0) {
      return errno_error("open a route socket");
    }
    const auto size = static_cast<std::uint32_t>(x_bytes.size());
    std::memcpy(x_bytes.data(), &size, sizeof size); // nlmsg_len is the first field
    if (::send(socket.get(), x_bytes.data(), x_bytes.size(), 0) < 0) {
      return errno_error("ask the kernel for a route");
    }
    std::vector<char> answer(256 * 1024);
    for (;;) {
      const auto got = ::recv(socket.get(), answer.data(), answer.size(), 0);
      if (got < 0) {
        return errno_error("read the kernel's answer");
      }
      auto left = static_cast<unsigned>(got);
      for (auto* at = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(at, left);
           at = NLMSG_NEXT(at, left)) {
        if (at->nlmsg_type == NLMSG_DONE || at->nlmsg_type == NLMSG_ERROR) {
          return {};
        }
        each(*static_cast<const Header*>(NLMSG_DATA(at)), attributes_of(*at, sizeof(Header)));
        if ((at->nlmsg_flags & NLM_F_MULTI) == 0) {
          return {};
        }
      }
    }
  }

  static Attributes attributes_of(nlmsghdr& message, std::size_t header) {
    char* begin = static_cast<char*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(header);
    const auto* end = reinterpret_cast<char*>(&message) + message.nlmsg_len;
    return parse(begin, begin < end ? static_cast<std::size_t>(end - begin) : 0);
  }

  static Attributes parse(char* begin, std::size_t size) {
    Attributes found;
    auto left = static_cast<int>(size);
    for (auto* at = reinterpret_cast<rtattr*>(begin); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
      const auto type = static_cast<std::size_t>(at->rta_type & NLA_TYPE_MASK);
      if (type < found.size()) {
        found[type] = {static_cast<char*>(RTA_DATA(at)), RTA_PAYLOAD(at)};
      }
    }
    return found;
  }

private:
  void append(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const char*>(data);
    x_bytes.insert(x_bytes.end(), bytes, bytes + size);
  }

  std::vector<char> x_bytes;
};

// The address in its own family's length.
std::string_view wire(const IpAddress& address) {
  const auto* bytes = reinterpret_cast<const char*>(address.bytes().data());
  return address.is_v4() ? std::string_view(bytes + 12, 4) : std::string_view(bytes, 16);
}

int family(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

Result<int> route_to(const IpAddress& address) {
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(family(address));
  header.rtm_dst_len = static_cast<unsigned char>(wire(address).size() * 8);
  Question question(RTM_GETROUTE, 0, header);
  question.attribute(RTA_DST, wire(address).data(), wire(address).size());
  int interface = 0;
  const auto asked = question.ask<rtmsg>([&](const rtmsg& route, const Attributes& found) {
    // By way of somebody else's address it leads off the node, be the way out a veth as well.
    const bool direct = found[RTA_GATEWAY].empty() && found[RTA_VIA].empty();
    if (direct && route.rtm_type == RTN_UNICAST && found[RTA_OIF].size() == sizeof interface) {
      std::memcpy(&interface, found[RTA_OIF].data(), sizeof interface);
    }
  });
  return asked ? Result<int>(interface) : asked.error();
}

// "veth", "bridge", … of an interface.
Result<std::string> kind_of(int interface) {
  ifinfomsg header{};
  header.ifi_index = interface;
  Question question(RTM_GETLINK, 0, header);
  std::string kind;
  const auto asked = question.ask<ifinfomsg>([&](const ifinfomsg&, const Attributes& found) {
    std::vector<char> nested(found[IFLA_LINKINFO].begin(), found[IFLA_LINKINFO].end());
    const auto text = Question::parse(nested.data(), nested.size())[IFLA_INFO_KIND];
    kind = text.substr(0, text.find('\0'));
  });
  return asked ? Result<std::string>(kind) : asked.error();
}

Result<Mac> neighbour(int bridge, const IpAddress& address) {
  ndmsg header{};
  header.ndm_family = static_cast<unsigned char>(family(address));
  Question question(RTM_GETNEIGH, NLM_F_DUMP, header);
  Mac mac;
  const auto asked = question.ask<ndmsg>([&](const ndmsg& entry, const Attributes& found) {
    if (entry.ndm_ifindex == bridge && found[NDA_DST] == wire(address)) {
      mac = found[NDA_LLADDR];
    }
  });
  return asked ? Result<Mac>(mac) : asked.error();
}

Result<int> bridge_port(int bridge, const Mac& mac) {
  ndmsg header{};
  header.ndm_family = AF_BRIDGE;
  Question question(RTM_GETNEIGH, NLM_F_DUMP, header);
  int port = 0;
  const auto asked = question.ask<ndmsg>([&](const ndmsg& entry, const Attributes& found) {
    int master = 0;
    if (found[NDA_MASTER].size() == sizeof master) {
      std::memcpy(&master, found[NDA_MASTER].data(), sizeof master);
    }
    // A permanent entry is the bridge's or port's own address, not that of what is behind it.
    if (master == bridge && found[NDA_LLADDR] == mac && (entry.ndm_state & NUD_PERMANENT) == 0) {
      port = entry.ndm_ifindex;
    }
  });
  return asked ? Result<int>(port) : asked.error();
}

} // namespace

Result<std::string> pod_interface(const IpAddress& address) {
  auto interface = route_to(address);
  if (!interface || *interface == 0) {
    return interface ? Result<std::string>("") : interface.error();
  }
  auto kind = kind_of(*interface);
  if (kind && *kind == "bridge") {
    const auto mac = neighbour(*interface, address);
    if (!mac || mac->empty()) {
      return mac ? Result<std::string>("") : mac.error();
    }
    interface = bridge_port(*interface, *mac);
    if (!interface || *interface == 0) {
      return interface ? Result<std::string>("") : interface.error();
    }
    kind = kind_of(*interface);
  }
  if (!kind) {
    return kind.error();
  }
  std::array<char, IF_NAMESIZE> name{};
  if (*kind != "veth" ||
      ::if_indextoname(static_cast<unsigned>(*interface), name.data()) == nullptr) {
    return std::string();
  }
  return std::string(name.data());
}

void ask_neighbour(const IpAddress& address) {
  const auto interface = route_to(address);
  if (!interface || *interface == 0) {
    return;
  }
  const auto kind = kind_of(*interface);
  if (!kind || *kind != "bridge") {
    return;
  }
  ndmsg header{};
  header.ndm_family = static_cast<unsigned char>(family(address));
  header.ndm_ifindex = *interface;
  header.ndm_flags = NTF_USE;
  Question question(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK, header);
  question.attribute(NDA_DST, wire(address).data(), wire(address).size());
  static_cast<void>(question.ask<ndmsg>([](const ndmsg&, const Attributes&) {}));
}

} // namespace weir::endpoint
