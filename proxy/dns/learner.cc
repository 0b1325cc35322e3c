#include "proxy/dns/learner.h"

#include "proxy/base/check.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace weir::dns {
namespace {

IpPrefix prefix(std::string_view text) {
  const auto parsed = IpPrefix::parse(text);
  WEIR_CHECK(parsed.has_value());
  return *parsed;
}

const std::array<IpPrefix, 12>& refused_ranges() {
  static const std::array<IpPrefix, 12> kRanges = {
      prefix("0.0.0.0/8"),          // this network, RFC 1122 §3.2.1.3
      prefix("127.0.0.0/8"),        // loopback
      prefix("169.254.0.0/16"),     // link-local, and the metadata service of most clouds
      prefix("100.100.100.200/32"), // metadata elsewhere
      prefix("224.0.0.0/4"),        // multicast
      prefix("255.255.255.255/32"), // broadcast
      prefix("::/96"),              // unspecified, loopback, IPv4-compatible (RFC 4291 §2.5.5.1)
      prefix("fe80::/10"),          // link-local
      prefix("fec0::/10"),          // site-local, RFC 3879
      prefix("ff00::/8"),           // multicast
      prefix("fd00:ec2::254/128"),  // metadata over IPv6
      prefix("fd20:ce::254/128"),   // the same, elsewhere
  };
  return kRanges;
}

// The IPv4 address that an IPv6 one leads to by translation or tunnel.
std::optional<IpAddress> carried_v4(const IpAddress& address) {
  static const IpPrefix kNat64 = prefix("64:ff9b::/96");        // RFC 6052
  static const IpPrefix kLocalNat64 = prefix("64:ff9b:1::/48"); // RFC 8215, as /96 blocks
  static const IpPrefix k6to4 = prefix("2002::/16");            // RFC 3056
  std::size_t at = 0;
  if (kNat64.contains(address) || kLocalNat64.contains(address)) {
    at = 12;
  } else if (k6to4.contains(address)) {
    at = 2;
  } else {
    return std::nullopt;
  }
  std::uint8_t v4[4];
  std::copy_n(address.bytes().begin() + static_cast<std::ptrdiff_t>(at), 4, v4);
  return IpAddress::from_v4(v4);
}

// name = prefix.owner and owner DNAME target → prefix.target (RFC 6672 §2.2); nothing when name
// does not lie below owner, or the result is too long.
std::optional<DnsName> substitute(const DnsName& name, const DnsName& owner,
                                  const DnsName& target) {
  const auto name_labels = name.labels();
  const auto owner_labels = owner.labels();
  if (name_labels.size() <= owner_labels.size() ||
      !std::equal(owner_labels.rbegin(), owner_labels.rend(), name_labels.rbegin())) {
    return std::nullopt;
  }
  std::vector<std::string> labels(
      name_labels.begin(), name_labels.end() - static_cast<std::ptrdiff_t>(owner_labels.size()));
  for (const auto label : target.labels()) {
    labels.emplace_back(label);
  }
  return DnsName::from_labels(labels);
}

struct Link {
  std::optional<DnsName> next;
  std::uint32_t ttl = 0;
  bool broken = false;
};

Link follow(const Response& response, const DnsName& name) {
  Link link;
  const auto take = [&](const DnsName& next, std::uint32_t ttl) {
    if (link.next && *link.next != next) {
      link.broken = true; // RFC 2181 §10.1: one canonical name
    }
    link.ttl = link.next ? std::min(link.ttl, ttl) : ttl;
    link.next = next;
  };
  for (const Record& record : response.answers) {
    if (record.type == RecordType::kCname && record.owner == name) {
      take(std::get<DnsName>(record.data), record.ttl);
    }
  }
  if (link.next) {
    return link; // a server writes the CNAME that a DNAME amounts to beside it (RFC 6672 §3.1)
  }
  for (const Record& record : response.answers) {
    if (record.type == RecordType::kDname) {
      if (const auto next = substitute(name, record.owner, std::get<DnsName>(record.data))) {
        take(*next, record.ttl);
      }
    }
  }
  return link;
}

bool is_private(const IpAddress& address) {
  static const std::array<IpPrefix, 5> kRanges = {
      prefix("10.0.0.0/8"),    prefix("172.16.0.0/12"), prefix("192.168.0.0/16"), // RFC 1918
      prefix("100.64.0.0/10"),                                                    // RFC 6598
      prefix("fc00::/7"),                                                         // RFC 4193
  };
  return std::any_of(kRanges.begin(), kRanges.end(),
                     [&](const IpPrefix& range) { return range.contains(address); });
}

// By what it is, or by the IPv4 address that it leads to.
std::optional<NotLearned> refusal(const IpAddress& address, const LearnRules& rules) {
  if (never_learned(address)) {
    return NotLearned::kRange;
  }
  const auto v4 = carried_v4(address);
  if (rules.is_cluster(address) || (v4 && rules.is_cluster(*v4))) {
    return NotLearned::kCluster;
  }
  if (!rules.learn_private && (is_private(address) || (v4 && is_private(*v4)))) {
    return NotLearned::kPrivate;
  }
  return std::nullopt;
}

// The way from the question to its end, and the smallest time on it.
struct Chain {
  std::vector<DnsName> names; // after the question's
  std::optional<std::uint32_t> ttl;

  [[nodiscard]] const DnsName& end(const Response& response) const {
    return names.empty() ? response.question.name : names.back();
  }
};

// Nothing when it is broken.
std::optional<Chain> chain_of(const Response& response) {
  Chain chain;
  for (;;) {
    Link link = follow(response, chain.end(response));
    if (link.broken) {
      return std::nullopt;
    }
    if (!link.next) {
      return chain;
    }
    if (chain.names.size() == kMaxChain || *link.next == response.question.name ||
        std::find(chain.names.begin(), chain.names.end(), *link.next) != chain.names.end()) {
      return std::nullopt;
    }
    chain.ttl = std::min(chain.ttl.value_or(link.ttl), link.ttl);
    chain.names.push_back(*std::move(link.next));
  }
}

} // namespace

bool never_learned(const IpAddress& address) {
  const auto& ranges = refused_ranges();
  if (std::any_of(ranges.begin(), ranges.end(),
                  [&](const IpPrefix& range) { return range.contains(address); })) {
    return true;
  }
  const auto v4 = carried_v4(address);
  return v4 && never_learned(*v4);
}

Learned learn_addresses(const Response& response, const LearnRules& rules) {
  const auto asked = static_cast<RecordType>(response.question.type);
  if (response.rcode != Rcode::kNoError ||
      (asked != RecordType::kA && asked != RecordType::kAaaa)) {
    return {};
  }
  const auto chain = chain_of(response);
  std::optional<std::uint32_t> ttl = chain ? chain->ttl : std::nullopt;
  Learned learned;
  learned.addresses.reserve(response.answers.size());
  const auto leave_out = [&learned](NotLearned why) {
    ++learned.refused[static_cast<std::size_t>(why)];
  };
  for (const Record& record : response.answers) {
    const auto* address = std::get_if<IpAddress>(&record.data);
    if (address == nullptr) {
      continue;
    }
    const bool reached = rules.lenient || (chain && record.owner == chain->end(response));
    if (record.type != asked || !reached) {
      leave_out(NotLearned::kChain);
    } else if (record.type == RecordType::kAaaa && address->is_v4()) {
      leave_out(NotLearned::kRange); // in disguise
    } else if (const auto why = refusal(*address, rules)) {
      leave_out(*why);
    } else {
      ttl = std::min(ttl.value_or(record.ttl), record.ttl);
      learned.addresses.push_back(*address);
    }
  }
  std::sort(learned.addresses.begin(), learned.addresses.end());
  learned.addresses.erase(std::unique(learned.addresses.begin(), learned.addresses.end()),
                          learned.addresses.end());
  learned.ttl = learned.addresses.empty() ? 0 : ttl.value_or(0);
  return learned;
}

} // namespace weir::dns
