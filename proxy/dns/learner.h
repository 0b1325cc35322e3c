// Which addresses an answer teaches: those reached from the question by an unbroken chain of CNAME
// and DNAME records in its answer section, outside the ranges that no name may open. Pure; knows
// neither policy nor caches; any thread. A doubtful answer teaches nothing.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/dns/message.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace weir::dns {

// Why an address of an answer is left out.
enum class NotLearned : std::uint8_t {
  kChain,   // its owner is not what the chain leads to, or there is no chain
  kRange,   // opened by no name: never_learned()
  kCluster, // the cluster's own
  kPrivate, // of a private network, where these are not wanted
};
inline constexpr std::size_t kNotLearned = 4;

struct Learned {
  std::vector<IpAddress> addresses; // each once
  std::uint32_t ttl = 0;            // the smallest of the chain and its addresses, seconds
  std::array<std::size_t, kNotLearned> refused{};
};

struct LearnRules {
  // The cluster's own: pods, nodes, services.
  std::function<bool(const IpAddress&)> is_cluster = [](const IpAddress&) { return false; };
  bool learn_private = true; // RFC 1918, RFC 6598 and RFC 4193
  // Believes the server that every address of the answer belongs to the name that was asked for:
  // some servers write chains that do not hang together.
  bool lenient = false;
};

inline constexpr std::size_t kMaxChain = 20; // links

// The chain counts as broken when it loops, is longer than kMaxChain or gives one name two
// different canonical names. Only the type that was asked for is learned.
[[nodiscard]] Learned learn_addresses(const Response& response, const LearnRules& rules);

// Loopback, link-local with the metadata services, unspecified, multicast, broadcast, and IPv6
// forms that carry such an IPv4 address (mapped, compatible, NAT64, 6to4).
[[nodiscard]] bool never_learned(const IpAddress& address);

} // namespace weir::dns
