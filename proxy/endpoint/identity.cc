#include "proxy/endpoint/identity.h"

#include <boost/json.hpp>

#include <bitset>

namespace weir::endpoint {
namespace json = boost::json;
namespace {

constexpr int kVersion = 1;
constexpr unsigned kBits = 64;
// How far a seed may move the start of each numbering: the ranges stay roomy above it.
constexpr std::uint32_t kSeedMask = 0x3fffff;

} // namespace

IdentityAllocator::IdentityAllocator(std::uint32_t seed)
    : x_next_identity(WEIR_IDENTITY_FIRST_POD + (seed & kSeedMask)),
      x_next_prefix(WEIR_IDENTITY_FIRST_PREFIX + (seed & kSeedMask)),
      x_next_endpoint(1 + (seed & kSeedMask)) {}

policy::IdentityId IdentityAllocator::identity_of(const policy::Labels& labels) {
  const auto [at, added] = x_identities.try_emplace(labels, x_next_identity);
  if (added) {
    ++x_next_identity;
    x_dirty = true;
  }
  return at->second;
}

policy::EndpointId IdentityAllocator::endpoint_id(const std::string& full_name) {
  const auto [at, added] = x_endpoints.try_emplace(full_name, x_next_endpoint);
  if (added) {
    ++x_next_endpoint;
    x_dirty = true;
  }
  return at->second;
}

policy::IdentityId IdentityAllocator::identity_of(const IpPrefix& prefix) {
  const auto [at, added] = x_prefixes.try_emplace(prefix, x_next_prefix);
  if (added) {
    ++x_next_prefix;
    x_dirty = true;
  }
  return at->second;
}

std::optional<unsigned> IdentityAllocator::bit_of(policy::EndpointId endpoint,
                                                  const std::string& group) {
  auto& groups = x_groups[endpoint];
  const auto known = groups.find(group);
  if (known != groups.end()) {
    known->second.used = true;
    return known->second.bit;
  }
  std::bitset<kBits> taken;
  for (const auto& [text, other] : groups) {
    taken.set(other.bit);
  }
  for (unsigned bit = 0; bit < kBits; ++bit) {
    if (!taken.test(bit)) {
      groups.emplace(group, Group{bit, true});
      x_dirty = true;
      return bit;
    }
  }
  return std::nullopt;
}

void IdentityAllocator::begin_compile() {
  for (auto& [endpoint, groups] : x_groups) {
    for (auto& [text, group] : groups) {
      group.used = false;
    }
  }
}

void IdentityAllocator::release_unused() {
  for (auto& [endpoint, groups] : x_groups) {
    if (std::erase_if(groups, [](const auto& entry) { return !entry.second.used; }) > 0) {
      x_dirty = true;
    }
  }
  std::erase_if(x_groups, [](const auto& entry) { return entry.second.empty(); });
}

std::uint64_t IdentityAllocator::bits_in_use(policy::EndpointId endpoint) const {
  std::uint64_t bits = 0;
  const auto found = x_groups.find(endpoint);
  if (found != x_groups.end()) {
    for (const auto& [text, group] : found->second) {
      if (group.used) {
        bits |= std::uint64_t{1} << group.bit;
      }
    }
  }
  return bits;
}

std::string IdentityAllocator::serialize() const {
  json::array identities;
  for (const auto& [labels, id] : x_identities) {
    json::object label_object;
    for (const auto& [key, value] : labels) {
      label_object[key] = value;
    }
    identities.push_back({{"id", id}, {"labels", std::move(label_object)}});
  }
  json::object prefixes;
  for (const auto& [prefix, id] : x_prefixes) {
    prefixes[prefix.to_string()] = id;
  }
  json::object endpoints;
  for (const auto& [name, id] : x_endpoints) {
    endpoints[name] = id;
  }
  json::array groups;
  for (const auto& [endpoint, entries] : x_groups) {
    for (const auto& [text, group] : entries) {
      groups.push_back({{"endpoint", endpoint}, {"group", text}, {"bit", group.bit}});
    }
  }
  x_dirty = false;
  return json::serialize(json::object{{"version", kVersion},
                                      {"next_identity", x_next_identity},
                                      {"next_prefix", x_next_prefix},
                                      {"next_endpoint", x_next_endpoint},
                                      {"identities", std::move(identities)},
                                      {"prefixes", std::move(prefixes)},
                                      {"endpoints", std::move(endpoints)},
                                      {"fqdn_groups", std::move(groups)}});
}

Result<void> IdentityAllocator::restore(const std::string& text) {
  // Boost.JSON's checked accessors throw; the whole restore is one attempt on a copy.
  try {
    const json::value parsed = json::parse(text);
    if (parsed.at("version").to_number<int>() != kVersion) {
      return invalid_error("identities: unknown version");
    }
    IdentityAllocator restored(0);
    restored.x_next_identity = parsed.at("next_identity").to_number<std::uint32_t>();
    restored.x_next_prefix = parsed.at("next_prefix").to_number<std::uint32_t>();
    restored.x_next_endpoint = parsed.at("next_endpoint").to_number<std::uint32_t>();
    for (const auto& entry : parsed.at("identities").as_array()) {
      policy::Labels labels;
      for (const auto& [key, value] : entry.at("labels").as_object()) {
        labels.emplace(key, value.as_string());
      }
      restored.x_identities.emplace(std::move(labels),
                                    entry.at("id").to_number<policy::IdentityId>());
    }
    for (const auto& [key, value] : parsed.at("prefixes").as_object()) {
      const auto prefix = IpPrefix::parse(key);
      if (!prefix) {
        return invalid_error("identities: not a prefix: " + std::string(key));
      }
      restored.x_prefixes.emplace(*prefix, value.to_number<policy::IdentityId>());
    }
    for (const auto& [key, value] : parsed.at("endpoints").as_object()) {
      restored.x_endpoints.emplace(key, value.to_number<policy::EndpointId>());
    }
    for (const auto& entry : parsed.at("fqdn_groups").as_array()) {
      const auto bit = entry.at("bit").to_number<unsigned>();
      if (bit >= kBits) {
        return invalid_error("identities: FQDN group bit out of range");
      }
      restored.x_groups[entry.at("endpoint").to_number<policy::EndpointId>()].emplace(
          std::string(entry.at("group").as_string()), Group{bit, false});
    }
    *this = std::move(restored);
    return {};
  } catch (const std::exception& error) {
    return invalid_error(std::string("identities: ") + error.what());
  }
}

} // namespace weir::endpoint
