// Which addresses an answer teaches: those reached from the question by an unbroken chain of CNAME
// and DNAME records in its answer section, outside the ranges that no name may open. Pure; knows
// neither policy nor caches; any thread. A doubtful answer teaches nothing.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/dns/message.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace weir::dns {

struct Learned {
  std::vector<IpAddress> addresses; // each once
  std::uint32_t ttl = 0;            // the smallest of the chain and its addresses, seconds
  std::size_t refused = 0;          // addresses left out: of a refused range, or not on the chain
};

// May say no to further addresses: those of the cluster's own pods and nodes.
using RefusedAddress = std::function<bool(const IpAddress&)>;

inline constexpr std::size_t kMaxChain = 20; // links

// The chain counts as broken when it loops, is longer than kMaxChain or gives one name two
// different canonical names. Only the type that was asked for is learned.
[[nodiscard]] Learned learn_addresses(const Response& response, const RefusedAddress& refused);

// Loopback, link-local with the metadata services, unspecified, multicast, broadcast, and IPv6
// forms that carry such an IPv4 address (mapped, compatible, NAT64, 6to4).
[[nodiscard]] bool never_learned(const IpAddress& address);

} // namespace weir::dns
