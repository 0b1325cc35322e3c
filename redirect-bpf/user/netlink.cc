#include "redirect-bpf/user/netlink.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace weir::redirect {

namespace {

constexpr std::size_t kReceiveBuffer = 64 * 1024; // a dump's messages never exceed 32 KiB
constexpr int kEventQueue = 1 << 20; // bytes: room for a node's pods all starting at once

} // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags, const void* fixed,
                               std::size_t size) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(size));
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  x_bytes.resize(NLMSG_SPACE(size));
  std::memcpy(x_bytes.data(), &header, sizeof(header));
  std::memcpy(x_bytes.data() + NLMSG_HDRLEN, fixed, size);
}

void NetlinkRequest::add(std::uint16_t attribute, const void* data, std::size_t size) {
  rtattr header{};
  header.rta_type = attribute;
  header.rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
  const std::size_t at = x_bytes.size();
  x_bytes.resize(at + RTA_SPACE(size));
  std::memcpy(x_bytes.data() + at, &header, sizeof(header));
  std::memcpy(x_bytes.data() + at + RTA_LENGTH(0), data, size);
  const auto total = static_cast<std::uint32_t>(x_bytes.size());
  std::memcpy(x_bytes.data(), &total, sizeof(total)); // nlmsg_len stands first
}

Result<NetlinkSocket> NetlinkSocket::open(std::uint32_t groups) {
  const int kind = SOCK_RAW | SOCK_CLOEXEC | (groups != 0 ? SOCK_NONBLOCK : 0);
  UniqueFd fd(::socket(AF_NETLINK, kind, NETLINK_ROUTE));
  if (!fd.valid()) {
    return errno_error("open a netlink socket");
  }
  if (groups != 0) {
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kEventQueue, sizeof(kEventQueue));
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return errno_error("bind a netlink socket");
  }
  return NetlinkSocket(std::move(fd));
}

Result<void> NetlinkSocket::send(const NetlinkRequest& request, const std::string& what) {
  const auto& bytes = request.bytes();
  if (::send(x_fd.get(), bytes.data(), bytes.size(), 0) < 0) {
    return errno_error(what);
  }
  return {};
}

Result<void> NetlinkSocket::ask(const NetlinkRequest& request, const std::string& what) {
  return dump(request, what, [](const nlmsghdr& /*message*/) {});
}

Result<void> NetlinkSocket::dump(const NetlinkRequest& request, const std::string& what,
                                 const std::function<void(const nlmsghdr&)>& visit) {
  if (auto sent = send(request, what); !sent) {
    return sent.error();
  }
  alignas(nlmsghdr) std::array<char, kReceiveBuffer> buffer;
  for (;;) {
    const ssize_t received = ::recv(x_fd.get(), buffer.data(), buffer.size(), 0);
    if (received < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno_error(what);
    }
    auto left = static_cast<unsigned>(received);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) {
        return {};
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
        if (error->error != 0) {
          return errno_error(-error->error, what);
        }
        return {};
      }
      visit(*message);
    }
  }
}

Result<bool> NetlinkSocket::receive(const std::function<void(const nlmsghdr&)>& visit) {
  alignas(nlmsghdr) std::array<char, kReceiveBuffer> buffer;
  bool complete = true;
  for (;;) {
    const ssize_t received = ::recv(x_fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno == EAGAIN) {
        return complete;
      }
      if (errno == ENOBUFS) {
        complete = false;
        continue;
      }
      return errno_error("read from netlink");
    }
    auto left = static_cast<unsigned>(received);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      visit(*message);
    }
  }
}

void parse_attributes(const nlmsghdr& message, std::size_t size, const rtattr** table,
                      std::uint16_t maximum) {
  std::fill(table, table + maximum + 1, nullptr);
  if (message.nlmsg_len < NLMSG_SPACE(size)) {
    return;
  }
  auto left = static_cast<unsigned>(message.nlmsg_len - NLMSG_SPACE(size));
  const char* start = reinterpret_cast<const char*>(&message) + NLMSG_SPACE(size);
  for (auto* attribute = reinterpret_cast<const rtattr*>(start); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    const auto type = static_cast<std::uint16_t>(attribute->rta_type & NLA_TYPE_MASK);
    if (type <= maximum) {
      table[type] = attribute;
    }
  }
}

std::uint32_t attribute_u32(const rtattr* attribute) {
  std::uint32_t value = 0;
  if (attribute != nullptr && RTA_PAYLOAD(attribute) >= sizeof(value)) {
    std::memcpy(&value, RTA_DATA(attribute), sizeof(value));
  }
  return value;
}

std::string_view attribute_text(const rtattr* attribute) {
  if (attribute == nullptr) {
    return {};
  }
  const auto* text = static_cast<const char*>(RTA_DATA(attribute));
  return {text, ::strnlen(text, RTA_PAYLOAD(attribute))};
}

const rtattr* attribute_within(const rtattr* outer, std::uint16_t type) {
  if (outer == nullptr) {
    return nullptr;
  }
  auto left = static_cast<int>(RTA_PAYLOAD(outer));
  for (const auto* at = static_cast<const rtattr*>(RTA_DATA(outer)); RTA_OK(at, left);
       at = RTA_NEXT(at, left)) {
    if ((at->rta_type & NLA_TYPE_MASK) == type) {
      return at;
    }
  }
  return nullptr;
}

} // namespace weir::redirect
