// rtnetlink in as few words as weir needs: build a request, send it, read the answers. Knows
// nothing of rules, routes or links.
//
// A socket belongs to one thread and to the network namespace that the thread was in when it was
// opened. Source: netlink(7), rtnetlink(7).
#pragma once

#include "proxy/base/result.h"
#include "proxy/base/unique_fd.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::redirect {

// A message being built: header, fixed part, attributes.
class NetlinkRequest {
public:
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const void* fixed, std::size_t size);
  void add(std::uint16_t attribute, const void* data, std::size_t size);
  void add_u8(std::uint16_t attribute, std::uint8_t value) {
    add(attribute, &value, sizeof(value));
  }
  void add_u32(std::uint16_t attribute, std::uint32_t value) {
    add(attribute, &value, sizeof(value));
  }
  // Valid until the next add().
  [[nodiscard]] const std::vector<char>& bytes() const { return x_bytes; }

private:
  std::vector<char> x_bytes;
};

class NetlinkSocket {
public:
  // `groups`: RTMGRP_*; 0 for requests only. Non-blocking where there are groups.
  static Result<NetlinkSocket> open(std::uint32_t groups);

  [[nodiscard]] int fd() const { return x_fd.get(); }

  // Sends and waits for the kernel's yes or no; the error has its errno as code.
  Result<void> ask(const NetlinkRequest& request, const std::string& what);
  // Sends a dump request and hands over each message of the answer.
  Result<void> dump(const NetlinkRequest& request, const std::string& what,
                    const std::function<void(const nlmsghdr&)>& visit);
  // Hands over what has arrived unasked, without waiting. False: the kernel had to drop some
  // (ENOBUFS), so that the listener has to look at everything anew.
  Result<bool> receive(const std::function<void(const nlmsghdr&)>& visit);

private:
  explicit NetlinkSocket(UniqueFd fd) : x_fd(std::move(fd)) {}
  Result<void> send(const NetlinkRequest& request, const std::string& what);

  UniqueFd x_fd;
};

// The attributes behind a message's fixed part of `size` bytes; empty pointers where absent.
// `table` has room for attributes 0..maximum.
void parse_attributes(const nlmsghdr& message, std::size_t size, const rtattr** table,
                      std::uint16_t maximum);
[[nodiscard]] std::uint32_t attribute_u32(const rtattr* attribute);     // 0 where absent or short
[[nodiscard]] std::string_view attribute_text(const rtattr* attribute); // empty where absent
// The first of this type inside another; null where either is absent.
[[nodiscard]] const rtattr* attribute_within(const rtattr* outer, std::uint16_t type);

} // namespace weir::redirect
