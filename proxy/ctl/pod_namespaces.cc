#include "proxy/ctl/pod_namespaces.h"

#include "redirect-bpf/user/netlink.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <net/if.h>
#include <sched.h>

#include <array>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

namespace weir::ctl {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> candidates() {
  std::vector<std::string> paths;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/run/netns", failed)) {
    paths.push_back(entry.path());
  }
  for (const auto& entry : fs::directory_iterator("/proc", failed)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos) {
      paths.push_back(entry.path().string() + "/ns/net");
    }
  }
  return paths;
}

// One question with one answer; -1 where the kernel has no number.
Result<std::int32_t> number_of(redirect::NetlinkSocket& netlink,
                               const redirect::NetlinkRequest& question, std::size_t fixed,
                               std::uint16_t wanted) {
  std::int32_t number = -1;
  const auto asked =
      netlink.dump(question, "ask for a network namespace", [&](const nlmsghdr& message) {
        std::array<const rtattr*, IFLA_MAX + 1> attributes{};
        redirect::parse_attributes(message, fixed, attributes.data(), IFLA_MAX);
        if (attributes[wanted] != nullptr) {
          number = static_cast<std::int32_t>(redirect::attribute_u32(attributes[wanted]));
        }
      });
  if (!asked) {
    return asked.error();
  }
  return number;
}

Result<std::int32_t> number_of_namespace(redirect::NetlinkSocket& netlink, int space) {
  const rtgenmsg header{};
  redirect::NetlinkRequest question(RTM_GETNSID, NLM_F_ACK, &header, sizeof(header));
  question.add_u32(NETNSA_FD, static_cast<std::uint32_t>(space));
  return number_of(netlink, question, sizeof(header), NETNSA_NSID);
}

Result<std::int32_t> number_behind(redirect::NetlinkSocket& netlink, unsigned interface) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(interface);
  const redirect::NetlinkRequest question(RTM_GETLINK, NLM_F_ACK, &header, sizeof(header));
  return number_of(netlink, question, sizeof(header), IFLA_LINK_NETNSID);
}

} // namespace

Result<PodNamespaces> PodNamespaces::find() {
  auto netlink = redirect::NetlinkSocket::open(0);
  if (!netlink) {
    return netlink.error();
  }
  PodNamespaces found;
  for (const std::string& path : candidates()) {
    UniqueFd space(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!space.valid()) {
      continue; // of a process that has ended
    }
    const auto number = number_of_namespace(*netlink, space.get());
    if (number && *number >= 0) {
      found.x_by_number.emplace(*number, std::move(space));
    }
  }
  return found;
}

Result<void> PodNamespaces::inside(const std::string& interface,
                                   const std::function<void()>& work) const {
  auto netlink = redirect::NetlinkSocket::open(0);
  if (!netlink) {
    return netlink.error();
  }
  const unsigned index = ::if_nametoindex(interface.c_str());
  const auto number = index == 0 ? Result<std::int32_t>(errno_error("interface " + interface))
                                 : number_behind(*netlink, index);
  if (!number) {
    return number.error();
  }
  const auto space = x_by_number.find(*number);
  if (space == x_by_number.end()) {
    return invalid_error("no process of this machine is in the network namespace behind " +
                         interface);
  }
  // A namespace belongs to a thread: one of its own, so that ours stays where it is.
  Result<void> entered;
  std::thread([&] {
    if (::setns(space->second.get(), CLONE_NEWNET) != 0) {
      entered = errno_error("enter the network namespace behind " + interface);
      return;
    }
    work();
  }).join();
  return entered;
}

} // namespace weir::ctl
