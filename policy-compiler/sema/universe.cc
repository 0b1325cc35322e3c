#include "policy-compiler/sema/universe.h"

#include "proxy/base/check.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::policy {
namespace {

using LabelsPtr = std::shared_ptr<const Labels>;

LabelsPtr shared(Labels labels) { return std::make_shared<const Labels>(std::move(labels)); }

// Kept, so that they are the same objects in every update.
const LabelsPtr kWorldV4 = shared({{"reserved:world-ipv4", ""}});
const LabelsPtr kWorldV6 = shared({{"reserved:world-ipv6", ""}});
const LabelsPtr kWorld = shared({{"reserved:world", ""}});
const std::pair<IdentityId, LabelsPtr> kReserved[] = {
    {WEIR_IDENTITY_HOST, shared({{"reserved:host", ""}})},
    {WEIR_IDENTITY_WORLD, kWorld},
    {WEIR_IDENTITY_UNMANAGED, shared({{"reserved:unmanaged", ""}})},
    {WEIR_IDENTITY_HEALTH, shared({{"reserved:health", ""}})},
    {WEIR_IDENTITY_INIT, shared({{"reserved:init", ""}})},
    {WEIR_IDENTITY_REMOTE_NODE, shared({{"reserved:remote-node", ""}})},
    {WEIR_IDENTITY_KUBE_APISERVER,
     shared({{"reserved:kube-apiserver", ""}, {"reserved:remote-node", ""}})},
    {WEIR_IDENTITY_INGRESS, shared({{"reserved:ingress", ""}})},
};
constexpr std::size_t kReservedIdentities = std::size(kReserved) + 2; // and world of each family
constexpr std::size_t kSpareRoom = 256;
// From here on a set is faster to join than a list.
constexpr std::size_t kManyHolders = 64;

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

Universe::Universe(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
                   PrefixIdentities& prefix_identities)
    : x_options(input.options) {
  const std::size_t needed =
      kReservedIdentities + input.identities.size() + prefixes.size() + input.outside.size() + 1;
  x_room = needed + needed / 4 + kSpareRoom;
  x_everybody = IdentitySet(x_room);
  WEIR_CHECK(settle(input, prefixes, prefix_identities));
}

Universe::Update Universe::update(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
                                  PrefixIdentities& prefix_identities) {
  if (x_options != input.options || !settle(input, prefixes, prefix_identities)) {
    return Update::kFull;
  }
  return x_changed ? Update::kChanged : Update::kSame;
}

// False: somebody found no place.
bool Universe::settle(const CompileInput& input, const std::vector<IpPrefix>& prefixes,
                      PrefixIdentities& prefix_identities) {
  ++x_updates;
  x_changed = false;
  std::map<IpPrefix, Labels> outside;
  for (const OutsideInput& one : input.outside) {
    outside[one.prefix].insert(one.labels.begin(), one.labels.end());
  }
  std::vector<IpPrefix> named = prefixes;
  for (const auto& [prefix, labels] : outside) {
    named.push_back(prefix);
  }
  // The kernel keeps both families in one tree, where such a prefix lies above all of IPv4.
  if (std::any_of(named.begin(), named.end(), covers_mapped_v4)) {
    named.emplace_back(IpAddress::from_v4({0, 0, 0, 0}), 0);
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());

  want_reserved();
  for (const IdentityInput& identity : input.identities) {
    want(identity.id, identity.labels);
  }
  const bool dual = x_options.ipv4 && x_options.ipv6;
  x_cells.clear();
  for (const IpPrefix& prefix : named) {
    const LabelsPtr& world = !dual ? kWorld : prefix.is_v4() ? kWorldV4 : kWorldV6;
    const IdentityId id = prefix_identities.identity_of(prefix);
    if (const auto labelled = outside.find(prefix); labelled != outside.end()) {
      Labels labels = labelled->second;
      labels.insert(world->begin(), world->end());
      want(id, shared(std::move(labels)));
    } else {
      want(id, world);
    }
    x_cells.push_back({prefix, id});
  }
  if (x_members.size() > x_room) {
    return false;
  }
  leave_unwanted();
  x_cell_places.clear();
  for (const Program::Prefix& cell : x_cells) {
    x_cell_places.push_back(x_places.at(cell.identity));
  }
  if (x_changed) {
    auto table = std::make_shared<IdentityTable>();
    table->reserve(x_present);
    for (std::uint32_t place = 0; place < x_members.size(); ++place) {
      if (x_members[place].present) {
        table->emplace(x_members[place].id, place);
      }
    }
    x_table = std::move(table);
  }
  return true;
}

void Universe::want_reserved() {
  const bool dual = x_options.ipv4 && x_options.ipv6;
  for (const auto& [id, labels] : kReserved) {
    want(id, labels);
  }
  want(WEIR_IDENTITY_WORLD_IPV4, dual ? kWorldV4 : kWorld);
  want(WEIR_IDENTITY_WORLD_IPV6, dual ? kWorldV6 : kWorld);
}

void Universe::want(IdentityId id, const LabelsPtr& labels) {
  const auto [known, is_new] =
      x_places.try_emplace(id, static_cast<std::uint32_t>(x_members.size()));
  if (is_new) {
    x_members.emplace_back().id = id;
  }
  const std::uint32_t at = known->second;
  if (at >= x_room || x_members[at].wanted_in == x_updates) {
    return; // full: the caller gives up. Or listed twice: the first one stands
  }
  x_members[at].wanted_in = x_updates;
  if (x_members[at].present &&
      (x_members[at].labels == labels || *x_members[at].labels == *labels)) {
    return;
  }
  if (x_members[at].present) {
    place(at, false);
  }
  x_members[at].labels = labels;
  place(at, true);
}

void Universe::leave_unwanted() {
  for (std::uint32_t at = 0; at < x_members.size(); ++at) {
    if (x_members[at].present && x_members[at].wanted_in != x_updates) {
      place(at, false);
    }
  }
}

// Puts a member where its labels can be looked up, or takes it away from there.
void Universe::place(std::uint32_t place, bool present) {
  Member& member = x_members[place];
  const auto each = present ? &Universe::index : &Universe::forget;
  for (const auto& [key, value] : *member.labels) {
    (this->*each)(place, key, value);
    const auto colon = key.find(':');
    (this->*each)(place, "any:" + (colon == std::string::npos ? key : key.substr(colon + 1)),
                  value);
  }
  member.present = present;
  if (present) {
    x_everybody.set(place);
    ++x_present;
  } else {
    x_everybody.reset(place);
    --x_present;
  }
  x_changed = true;
}

void Universe::index(std::uint32_t place, const std::string& key, const std::string& value) {
  Key& entry = x_keys[key];
  if (entry.values.empty()) {
    entry.has = IdentitySet(x_room);
  }
  entry.has.set(place);
  Holders& holders = entry.values[value];
  if (!holders.places.empty() && holders.places.back() == place) {
    return; // by two sources
  }
  holders.places.push_back(place);
  if (holders.places.size() == kManyHolders) {
    holders.wide = IdentitySet(x_room);
    for (const std::uint32_t one : holders.places) {
      holders.wide.set(one);
    }
  } else if (holders.places.size() > kManyHolders) {
    holders.wide.set(place);
  }
}

void Universe::forget(std::uint32_t place, const std::string& key, const std::string& value) {
  const auto entry = x_keys.find(key);
  if (entry == x_keys.end()) {
    return; // by two sources: done
  }
  entry->second.has.reset(place);
  const auto holders = entry->second.values.find(value);
  if (holders == entry->second.values.end()) {
    return;
  }
  Places& places = holders->second.places;
  const auto found = std::find(places.begin(), places.end(), place);
  if (found == places.end()) {
    return;
  }
  *found = places.back();
  places.pop_back();
  if (places.size() >= kManyHolders) {
    holders->second.wide.reset(place);
  } else {
    holders->second.wide = {};
  }
  if (places.empty()) {
    entry->second.values.erase(holders);
    if (entry->second.values.empty()) {
      x_keys.erase(entry);
    }
  }
}

IdentitySet Universe::with(const std::string& key) const {
  const auto found = x_keys.find(key);
  return found == x_keys.end() ? IdentitySet(x_room) : found->second.has;
}

IdentitySet Universe::with(const std::string& key, const std::vector<std::string>& values) const {
  IdentitySet out(x_room);
  const auto found = x_keys.find(key);
  if (found == x_keys.end()) {
    return out;
  }
  for (const std::string& value : values) {
    if (const auto places = found->second.values.find(value);
        places != found->second.values.end()) {
      if (places->second.places.size() >= kManyHolders) {
        out |= places->second.wide;
        continue;
      }
      for (const std::uint32_t place : places->second.places) {
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
  IdentitySet out(x_room);
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
  IdentitySet out(x_room);
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
