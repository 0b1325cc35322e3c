#include "policy-compiler/lint/cover.h"

#include <algorithm>

namespace weir::policy {
namespace {

using Op = Requirement::Op;

bool same_key(const std::string& wide, const std::string& narrow) {
  return wide == narrow || (wide.starts_with("any:") && narrow.ends_with(wide.substr(3)) &&
                            narrow.find(':') == narrow.size() - wide.size() + 3);
}

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}
bool contains(const std::vector<std::string>& all, const std::vector<std::string>& some) {
  return std::all_of(some.begin(), some.end(),
                     [&](const std::string& one) { return contains(all, one); });
}
bool disjoint(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::none_of(a.begin(), a.end(), [&](const std::string& one) { return contains(b, one); });
}

// What meets `narrow` meets `wide`.
bool implied(const Requirement& wide, const Requirement& narrow) {
  if (!same_key(wide.key, narrow.key)) {
    return false;
  }
  switch (wide.op) {
  case Op::kIn:
    return narrow.op == Op::kIn && contains(wide.values, narrow.values);
  case Op::kExists:
    return narrow.op == Op::kIn || narrow.op == Op::kExists;
  case Op::kNotIn:
    return narrow.op == Op::kDoesNotExist ||
           (narrow.op == Op::kNotIn && contains(narrow.values, wide.values)) ||
           (narrow.op == Op::kIn && disjoint(narrow.values, wide.values));
  case Op::kDoesNotExist:
    return narrow.op == Op::kDoesNotExist;
  }
  return false;
}

bool has(const Peers& peers, Entity entity) {
  return std::find(peers.entities.begin(), peers.entities.end(), entity) != peers.entities.end();
}

bool covers(const Peers& wide, Entity entity) {
  if (has(wide, entity)) {
    return true;
  }
  switch (entity) {
  case Entity::kWorldIpv4:
  case Entity::kWorldIpv6:
    return has(wide, Entity::kWorld);
  case Entity::kHost:
  case Entity::kRemoteNode:
  case Entity::kHealth:
  case Entity::kInit:
  case Entity::kIngress:
  case Entity::kUnmanaged:
    return has(wide, Entity::kCluster);
  default:
    return false;
  }
}

bool covers(const Peers& wide, const CidrPeer& narrow) {
  const Entity family = narrow.prefix.is_v4() ? Entity::kWorldIpv4 : Entity::kWorldIpv6;
  return covers(wide, family) ||
         std::any_of(wide.cidrs.begin(), wide.cidrs.end(), [&](const CidrPeer& one) {
           return one.prefix.contains(narrow.prefix) &&
                  std::all_of(one.except.begin(), one.except.end(), [&](const IpPrefix& except) {
                    return !except.contains(narrow.prefix) && !narrow.prefix.contains(except);
                  });
         });
}

bool covers_match(const Rule& wide, const PortMatch& narrow) {
  return wide.every_port ||
         std::any_of(wide.ports.begin(), wide.ports.end(), [&](const PortRule& ports) {
           return std::any_of(ports.ports.begin(), ports.ports.end(),
                              [&](const PortMatch& one) { return covers(one, narrow); });
         });
}

} // namespace

bool covers(const LabelSelector& wide, const LabelSelector& narrow) {
  return (!wide.local_cluster || narrow.local_cluster) &&
         std::all_of(wide.all.begin(), wide.all.end(), [&](const Requirement& one) {
           return std::any_of(narrow.all.begin(), narrow.all.end(),
                              [&](const Requirement& other) { return implied(one, other); });
         });
}

bool covers(const Peers& wide, const Peers& narrow) {
  const bool somebody = narrow.anybody || !narrow.endpoints.empty() || !narrow.entities.empty() ||
                        !narrow.cidrs.empty() || !narrow.cidr_groups.empty() ||
                        !narrow.services.empty() || !narrow.fqdns.empty();
  if (!somebody || narrow.unresolvable) {
    return false;
  }
  if (wide.anybody || has(wide, Entity::kAll)) {
    return true;
  }
  if (narrow.anybody) {
    return false;
  }
  const bool world = has(wide, Entity::kWorld);
  return std::all_of(narrow.endpoints.begin(), narrow.endpoints.end(),
                     [&](const LabelSelector& one) {
                       return std::any_of(
                           wide.endpoints.begin(), wide.endpoints.end(),
                           [&](const LabelSelector& other) { return covers(other, one); });
                     }) &&
         std::all_of(narrow.entities.begin(), narrow.entities.end(),
                     [&](Entity one) { return covers(wide, one); }) &&
         std::all_of(narrow.cidrs.begin(), narrow.cidrs.end(),
                     [&](const CidrPeer& one) { return covers(wide, one); }) &&
         std::all_of(narrow.fqdns.begin(), narrow.fqdns.end(),
                     [&](const NamePattern& one) {
                       return world || std::find(wide.fqdns.begin(), wide.fqdns.end(), one) !=
                                           wide.fqdns.end();
                     }) &&
         std::all_of(narrow.cidr_groups.begin(), narrow.cidr_groups.end(),
                     [&](const CidrGroupPeer& one) {
                       return world || std::any_of(wide.cidr_groups.begin(), wide.cidr_groups.end(),
                                                   [&](const CidrGroupPeer& other) {
                                                     return !one.name.empty() &&
                                                            one.name == other.name &&
                                                            other.except.empty();
                                                   });
                     }) &&
         narrow.services.empty();
}

bool covers(const PortMatch& wide, const PortMatch& narrow) {
  if (wide.protocol != 0 && wide.protocol != narrow.protocol) {
    return false;
  }
  if (wide.every_port()) {
    return true;
  }
  return wide.name == narrow.name &&
         (!wide.name.empty() ? wide.last == narrow.last
                             : wide.first <= narrow.first && wide.last >= narrow.last);
}

bool covers_ports(const Rule& wide, const PortRule& narrow) {
  return !narrow.ports.empty() &&
         std::all_of(narrow.ports.begin(), narrow.ports.end(),
                     [&](const PortMatch& one) { return covers_match(wide, one); });
}

bool covers_ports(const Rule& wide, const Rule& narrow) {
  if (wide.every_port) {
    return true;
  }
  return !narrow.every_port &&
         std::all_of(narrow.ports.begin(), narrow.ports.end(),
                     [&](const PortRule& ports) { return covers_ports(wide, ports); }) &&
         std::all_of(narrow.icmps.begin(), narrow.icmps.end(), [&](const IcmpMatch& one) {
           return std::any_of(wide.icmps.begin(), wide.icmps.end(), [&](const IcmpMatch& other) {
             return other.protocol == one.protocol && other.type == one.type;
           });
         });
}

bool contradicts_itself(const LabelSelector& selector) {
  for (const Requirement& a : selector.all) {
    for (const Requirement& b : selector.all) {
      if (a.key != b.key) {
        continue;
      }
      const bool needs = a.op == Op::kIn || a.op == Op::kExists;
      if ((a.op == Op::kIn && b.op == Op::kIn && disjoint(a.values, b.values)) ||
          (a.op == Op::kIn && b.op == Op::kNotIn && contains(b.values, a.values)) ||
          (needs && b.op == Op::kDoesNotExist)) {
        return true;
      }
    }
  }
  return false;
}

} // namespace weir::policy
