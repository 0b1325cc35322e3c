#include "policy-compiler/sema/universe.h"

#include <algorithm>

namespace weir::policy {
namespace {

const Labels kWorldV4 = {{"reserved:world-ipv4", ""}};
const Labels kWorldV6 = {{"reserved:world-ipv6", ""}};
const Labels kWorld = {{"reserved:world", ""}};
constexpr std::size_t kReservedIdentities = 10;

// Is ::ffff:0:0/96 inside this IPv6 prefix?
bool covers_mapped_v4(const IpPrefix& prefix) {
  if (prefix.is_v4() || prefix.length() > 96) {
    return false;
  }
  const IpAddress::Bytes mapped = IpAddress::from_v4({0, 0, 0, 0}).bytes();
  const IpAddress::Bytes& bytes = prefix.address().bytes();
  for (unsigned bit = 0; bit < prefix.length(); ++bit) {
    const unsigned mask = 0x80u >> (bit % 8);
    if ((mapped[bit / 8] & mask) != (bytes[bit / 8] & mask)) {
      return false;
    }
  }
  return true;
}

} // namespace

Universe::Universe(const CompileInput& input, const std::set<IpPrefix>& prefixes,
                   PrefixIdentities& prefix_identities)
    : x_options(input.options) {
  std::map<IpPrefix, Labels> cells;
  for (const IpPrefix& prefix : prefixes) {
    cells[prefix];
  }
  for (const OutsideInput& outside : input.outside) {
    cells[outside.prefix].insert(outside.labels.begin(), outside.labels.end());
  }
  // The kernel keeps both families in one tree, where such a prefix lies above all of IPv4.
  if (std::any_of(cells.begin(), cells.end(),
                  [](const auto& cell) { return covers_mapped_v4(cell.first); })) {
    cells[IpPrefix(IpAddress::from_v4({0, 0, 0, 0}), 0)];
  }
  x_expected = kReservedIdentities + input.identities.size() + cells.size();
  x_ids.reserve(x_expected);
  x_table->reserve(x_expected);

  add_reserved();
  for (const IdentityInput& identity : input.identities) {
    add(identity.id, identity.labels);
  }
  const bool dual = x_options.ipv4 && x_options.ipv6;
  for (auto& [prefix, labels] : cells) {
    const Labels& world = !dual ? kWorld : prefix.is_v4() ? kWorldV4 : kWorldV6;
    labels.insert(world.begin(), world.end());
    const IdentityId id = prefix_identities.identity_of(prefix);
    add(id, labels);
    x_cells.push_back({prefix, id});
    x_cell_places.push_back(x_table->at(id));
  }
  x_everybody = IdentitySet(x_expected);
  for (std::size_t place = 0; place < x_ids.size(); ++place) {
    x_everybody.set(place);
  }
}

void Universe::add_reserved() {
  const bool dual = x_options.ipv4 && x_options.ipv6;
  add(WEIR_IDENTITY_HOST, {{"reserved:host", ""}});
  add(WEIR_IDENTITY_WORLD, kWorld);
  add(WEIR_IDENTITY_UNMANAGED, {{"reserved:unmanaged", ""}});
  add(WEIR_IDENTITY_HEALTH, {{"reserved:health", ""}});
  add(WEIR_IDENTITY_INIT, {{"reserved:init", ""}});
  add(WEIR_IDENTITY_REMOTE_NODE, {{"reserved:remote-node", ""}});
  add(WEIR_IDENTITY_KUBE_APISERVER,
      {{"reserved:kube-apiserver", ""}, {"reserved:remote-node", ""}});
  add(WEIR_IDENTITY_INGRESS, {{"reserved:ingress", ""}});
  add(WEIR_IDENTITY_WORLD_IPV4, dual ? kWorldV4 : kWorld);
  add(WEIR_IDENTITY_WORLD_IPV6, dual ? kWorldV6 : kWorld);
}

void Universe::add(IdentityId id, const Labels& labels) {
  const auto place = static_cast<std::uint32_t>(x_ids.size());
  if (!x_table->emplace(id, place).second) {
    return; // listed twice; the first one stands
  }
  x_ids.push_back(id);
  for (const auto& [key, value] : labels) {
    index(place, key, value);
    const auto colon = key.find(':');
    index(place, "any:" + (colon == std::string::npos ? key : key.substr(colon + 1)), value);
  }
}

void Universe::index(std::uint32_t place, const std::string& key, const std::string& value) {
  Key& entry = x_keys[key];
  if (entry.values.empty()) {
    entry.has = IdentitySet(x_expected);
  }
  entry.has.set(place);
  Places& places = entry.values[value];
  if (places.empty() || places.back() != place) {
    places.push_back(place);
  }
}

IdentitySet Universe::with(const std::string& key) const {
  const auto found = x_keys.find(key);
  return found == x_keys.end() ? IdentitySet(x_expected) : found->second.has;
}

IdentitySet Universe::with(const std::string& key, const std::vector<std::string>& values) const {
  IdentitySet out(x_expected);
  const auto found = x_keys.find(key);
  if (found == x_keys.end()) {
    return out;
  }
  for (const std::string& value : values) {
    if (const auto places = found->second.values.find(value);
        places != found->second.values.end()) {
      for (const std::uint32_t place : places->second) {
        out.set(place);
      }
    }
  }
  return out;
}

IdentitySet Universe::select(const LabelSelector& selector) const {
  IdentitySet out = x_everybody;
  for (const Requirement& one : selector.all) {
    switch (one.op) {
    case Requirement::Op::kIn:
      out &= with(one.key, one.values);
      break;
    case Requirement::Op::kExists:
      out &= with(one.key);
      break;
    case Requirement::Op::kNotIn: // a label that is missing is not in
      out.subtract(with(one.key, one.values));
      break;
    case Requirement::Op::kDoesNotExist:
      out.subtract(with(one.key));
      break;
    }
  }
  if (selector.local_cluster && !x_options.any_cluster) {
    out &= with("k8s:" + label::kCluster, {x_options.cluster_name});
  }
  return out;
}

IdentitySet Universe::select(Entity entity) const {
  const auto reserved = [&](const char* name) { return with(std::string("reserved:") + name); };
  IdentitySet out(x_expected);
  switch (entity) {
  case Entity::kAll:
    out = x_everybody;
    break;
  case Entity::kWorld:
    out |= reserved("world");
    out |= reserved("world-ipv4");
    out |= reserved("world-ipv6");
    break;
  case Entity::kWorldIpv4:
    out |= reserved("world-ipv4");
    break;
  case Entity::kWorldIpv6:
    out |= reserved("world-ipv6");
    break;
  case Entity::kCluster:
  case Entity::kClusterMesh:
    for (const char* name :
         {"host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"}) {
      out |= reserved(name);
    }
    out |= entity == Entity::kClusterMesh
               ? with("k8s:" + label::kCluster)
               : with("k8s:" + label::kCluster, {x_options.cluster_name});
    break;
  case Entity::kHost:
    out |= reserved("host");
    break;
  case Entity::kRemoteNode:
    out |= reserved("remote-node");
    break;
  case Entity::kKubeApiserver:
    out |= reserved("kube-apiserver");
    break;
  case Entity::kHealth:
    out |= reserved("health");
    break;
  case Entity::kInit:
    out |= reserved("init");
    break;
  case Entity::kIngress:
    out |= reserved("ingress");
    break;
  case Entity::kUnmanaged:
    out |= reserved("unmanaged");
    break;
  case Entity::kNone:
    break;
  }
  return out;
}

IdentitySet Universe::inside(const IpPrefix& prefix, const std::vector<IpPrefix>& excepts) const {
  IdentitySet out(x_expected);
  const auto excepted = [&](const IpPrefix& cell) {
    return std::any_of(excepts.begin(), excepts.end(),
                       [&](const IpPrefix& except) { return except.contains(cell); });
  };
  // What a prefix contains follows it in the order of addresses, without a gap but for IPv4, which
  // lies in the middle of ::/0.
  auto at = std::lower_bound(
      x_cells.begin(), x_cells.end(), prefix,
      [](const Program::Prefix& cell, const IpPrefix& wanted) { return cell.prefix < wanted; });
  for (; at != x_cells.end(); ++at) {
    if (!prefix.contains(at->prefix)) {
      if (at->prefix.is_v4() && !prefix.is_v4()) {
        continue;
      }
      break;
    }
    if (!excepted(at->prefix)) {
      out.set(x_cell_places[static_cast<std::size_t>(at - x_cells.begin())]);
    }
  }
  // "Every address of a family" has the family's world in it too, for peers without a cell.
  if (prefix.length() == 0 && !excepted(prefix)) {
    const bool dual = x_options.ipv4 && x_options.ipv6;
    out.set(x_table->at(prefix.is_v4() ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6));
    if (!dual && prefix.is_v4() == x_options.ipv4) {
      out.set(x_table->at(WEIR_IDENTITY_WORLD));
    }
  }
  return out;
}

} // namespace weir::policy
