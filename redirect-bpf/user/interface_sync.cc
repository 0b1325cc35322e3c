#include "redirect-bpf/user/interface_sync.h"

#include "proxy/base/log.h"
#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <utility>

namespace weir::redirect {

InterfaceSync::InterfaceSync(Interfaces interfaces, Attachments attachments,
                             const Programs& programs, const Maps& maps)
    : x_interfaces(std::move(interfaces)), x_attachments(std::move(attachments)),
      x_births({.interfaces = maps.interfaces, .births = maps.births, .names = maps.names}),
      x_programs(programs), x_maps(maps) {
  for (const auto port : list_keys<std::uint32_t>(x_maps.bridges)) {
    std::uint32_t bridge = 0;
    if (bpf_map_lookup_elem(x_maps.bridges, &port, &bridge) == 0) {
      x_bridges[port] = bridge;
    }
  }
}

void InterfaceSync::write_bridges(std::vector<std::string>& errors) {
  const auto& all = x_interfaces.all();
  std::map<std::uint32_t, std::uint32_t> wanted;
  for (const auto& [index, interface] : all) {
    const auto master = all.find(interface.master);
    if (master != all.end() && master->second.bridge) {
      wanted.emplace(index, interface.master);
    }
  }
  const int map = x_maps.bridges;
  for (const auto& [port, bridge] : x_bridges) {
    if (!wanted.contains(port)) {
      (void)bpf_map_delete_elem(map, &port); // else only ENOENT
    }
  }
  for (auto entry = wanted.begin(); entry != wanted.end();) {
    const auto known = x_bridges.find(entry->first);
    if ((known == x_bridges.end() || known->second != entry->second) &&
        bpf_map_update_elem(map, &entry->first, &entry->second, BPF_ANY) != 0) {
      errors.push_back(errno_error("write weir_bridges").text());
      entry = wanted.erase(entry);
    } else {
      ++entry;
    }
  }
  x_bridges = std::move(wanted);
}

// One that is a known pod's meanwhile, or no pod's, is held anew should it become unknown again.
void InterfaceSync::follow_holds(const std::set<std::string>& pod_interfaces) {
  std::map<std::uint64_t, Hold> holds;
  for (const auto& [index, interface] : x_interfaces.all()) {
    if (x_others && interface.veth && !x_others->contains(interface.name) &&
        !pod_interfaces.contains(interface.name)) {
      const auto before = x_holds.find(interface.serial);
      holds.emplace(interface.serial, before != x_holds.end()
                                          ? before->second
                                          : Hold{.begun = std::chrono::steady_clock::now()});
    }
  }
  x_holds = std::move(holds);
}

bool InterfaceSync::is_held(const Interface& interface) const {
  const auto hold = x_holds.find(interface.serial);
  return hold != x_holds.end() && !hold->second.ended;
}

std::set<int> InterfaceSync::bridges_of_pods(const std::set<std::string>& pod_interfaces) const {
  std::set<int> bridges, mixed;
  for (const auto& [index, interface] : x_interfaces.all()) {
    if (interface.master != 0) {
      (pod_interfaces.contains(interface.name) || is_held(interface) ? bridges : mixed)
          .insert(interface.master);
    }
  }
  std::erase_if(bridges, [&](int bridge) { return mixed.contains(bridge); });
  return bridges;
}

void InterfaceSync::attach(const std::set<std::string>& pods, std::vector<std::string>& errors) {
  write_bridges(errors); // first: a port that has its program hands packets up
  follow_holds(pods);
  const std::set<int> bridges = bridges_of_pods(pods);
  std::set<std::string> all_attached;
  for (const bool pod_interfaces : {true, false}) {
    for (const auto& [index, interface] : x_interfaces.all()) {
      if (pods.contains(interface.name) != pod_interfaces) {
        continue;
      }
      if (interface.loopback) { // no way out, and none in
        if (auto added = x_births.add(index, interface.serial); !added) {
          errors.push_back(interface.name + ": " + added.error().text());
        }
        continue;
      }
      const int from_net = bridges.contains(index) ? x_programs.from_ports : x_programs.from_net;
      const bool judged = pod_interfaces || is_held(interface);
      auto attached =
          x_attachments.attach(index, interface, judged ? x_programs.from_pod : from_net,
                               judged ? x_programs.to_pod : x_programs.to_net);
      if (attached) {
        attached = x_births.add(index, interface.serial);
      } else {
        x_births.remove(index);
      }
      if (attached) {
        all_attached.insert(interface.name);
      } else if (attached.error().code.value() != ENODEV) { // gone meanwhile
        errors.push_back(interface.name + ": " + attached.error().text());
      }
    }
  }
  {
    const std::lock_guard lock(x_attached_mutex);
    x_attached = std::move(all_attached);
  }
  x_attachments.forget_missing(x_interfaces.all());
  x_births.forget_missing(x_interfaces.all());
  // Now that all that are there have their programs: from here on what has none is news.
  if (auto attached = x_attachments.attach_socket(x_programs.to_socket); !attached) {
    errors.push_back(attached.error().text());
  }
  if (auto held = x_births.hold(pods, x_others ? &*x_others : nullptr); !held) {
    errors.push_back(held.error().text());
  }
}

bool InterfaceSync::attached(const std::string& interface) {
  const std::lock_guard lock(x_attached_mutex);
  return x_attached.contains(interface);
}

bool InterfaceSync::end_holds(std::chrono::steady_clock::time_point begun) {
  bool any = false;
  for (const auto& [index, interface] : x_interfaces.all()) {
    const auto hold = x_holds.find(interface.serial);
    if (hold != x_holds.end() && !hold->second.ended && hold->second.begun <= begun) {
      hold->second.ended = any = true;
      log::warning("{}: nobody has said whose interface this is; it is held no longer, and no "
                   "policy has a say in what it sends",
                   interface.name);
    }
  }
  return any;
}

} // namespace weir::redirect
