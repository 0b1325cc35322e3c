#include "redirect-bpf/user/bpf_redirector.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "redirect-bpf/user/routes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weir::redirect {

namespace {

weir_addr abi_address(const IpAddress::Bytes& bytes) { return to_abi(IpAddress(bytes)); }

std::uint16_t flags_of(const EndpointState& endpoint) {
  return static_cast<std::uint16_t>(
      (endpoint.ingress_enforced ? WEIR_ENDPOINT_INGRESS_ENFORCED : 0u) |
      (endpoint.egress_enforced ? WEIR_ENDPOINT_EGRESS_ENFORCED : 0u) |
      (endpoint.held ? WEIR_ENDPOINT_HELD : 0u) | (endpoint.audited ? WEIR_ENDPOINT_AUDITED : 0u) |
      (endpoint.joined ? WEIR_ENDPOINT_JOINED : 0u));
}

Result<void> joined(const std::vector<std::string>& errors) {
  if (errors.empty()) {
    return {};
  }
  std::string text;
  for (const std::string& error : errors) {
    text += text.empty() ? error : "; " + error;
  }
  return Error{std::make_error_code(std::errc::not_enough_memory), text};
}

} // namespace

BpfRedirector::BpfRedirector(Options options, BpfObject object, Interfaces interfaces,
                             Attachments attachments)
    : x_options(std::move(options)), x_object(std::move(object)),
      x_interfaces(std::move(interfaces), std::move(attachments), x_object.programs(),
                   x_object.maps()),
      x_identities(x_object.maps().identities), x_learned(x_object.maps().learned),
      x_services({.services = x_object.maps().services,
                  .backends = x_object.maps().backends,
                  .members = x_object.maps().members,
                  .translations = x_object.maps().translations}),
      x_acceleration(pin_folder(x_options.bpffs)), x_events(nullptr, &ring_buffer__free) {}

BpfRedirector::~BpfRedirector() = default;

Result<std::unique_ptr<BpfRedirector>> BpfRedirector::open(Options options) {
  if (options.mount) {
    if (auto mounted = ensure_bpffs(options.bpffs); !mounted) {
      return mounted.error();
    }
  }
  if (auto made = make_pin_folders(options.bpffs); !made) {
    return made.error();
  }
  auto object = BpfObject::load(pin_folder(options.bpffs), options.sizes);
  if (!object) {
    return object.error();
  }
  auto attachments =
      Attachments::open(options.bpffs, options.attach_mode, object->programs().to_net);
  if (!attachments) {
    return attachments.error();
  }
  // A link stays where it is.
  auto interfaces = Interfaces::open(attachments->mode() == AttachMode::kClsact);
  if (!interfaces) {
    return interfaces.error();
  }
  if (auto routes = ensure_routes(); !routes) {
    return routes.error();
  }
  std::unique_ptr<BpfRedirector> redirector(new BpfRedirector(
      std::move(options), std::move(*object), std::move(*interfaces), std::move(*attachments)));
  if (auto adopted = redirector->adopt(); !adopted) {
    return adopted.error();
  }
  auto reopen = attach_lookup(redirector->x_object.programs().reopen);
  if (!reopen) {
    return reopen.error();
  }
  redirector->x_reopen = std::move(*reopen);
  if (auto begun = redirector->x_interfaces.begin(); !begun) {
    return begun.error();
  }
  return redirector;
}

Result<void> BpfRedirector::adopt() {
  const Maps& maps = x_object.maps();
  const std::uint32_t zero = 0;
  if (bpf_map_lookup_elem(maps.config, &zero, &x_config) != 0) {
    return errno_error("read weir_config");
  }
  for (const weir_policy_slot& key : list_keys<weir_policy_slot>(maps.policies)) {
    x_policies[key.slot % WEIR_SLOTS][key.endpoint] = nullptr;
  }
  for (const weir_addr& address : list_keys<weir_addr>(maps.endpoints)) {
    weir_endpoint endpoint{};
    if (bpf_map_lookup_elem(maps.endpoints, &address, &endpoint) == 0) {
      x_endpoints[from_abi(address).bytes()] = endpoint;
    }
  }
  auto take = [](void* self, void* data, std::size_t size) {
    auto& redirector = *static_cast<BpfRedirector*>(self);
    auto& taken = redirector.x_taken_events;
    if (size >= sizeof(weir_event)) {
      std::memcpy(&taken.emplace_back(), data, sizeof(weir_event));
    }
    // An error ends the reading after this one; else it would go on as long as packets come.
    return taken.size() >= redirector.x_most_events ? -EAGAIN : 0;
  };
  x_events.reset(ring_buffer__new(maps.events, take, this, nullptr));
  if (!x_events) {
    return errno_error("open weir_events");
  }
  return {};
}

Result<void> BpfRedirector::apply(const IdentityRows& identities,
                                  std::span<const EndpointState> endpoints) {
  const std::uint32_t used = weir_slot(x_config.revision);
  const std::uint32_t next = weir_slot(x_config.revision + 1);
  std::vector<std::string> errors;

  const bool same_identities = x_identities.holds(used, identities);
  const WantedEndpoints wanted = plan(endpoints, same_identities, errors);
  const bool flipping = !x_first_revision || !same_identities || differs(wanted);
  if (flipping) {
    if (auto filled = x_identities.fill(next, identities); !filled) {
      return filled.error();
    }
    if (auto filled = fill_slot(next, wanted, errors); !filled) {
      return filled.error();
    }
  }
  x_interface_names.clear();
  for (const auto& [id, endpoint] : wanted) {
    x_interface_names[id] = endpoint.interface;
  }
  write_endpoints(wanted, used, flipping, errors);
  if (flipping) {
    if (auto written = write_config(x_config.revision + 1, x_config.workers); !written) {
      return written.error();
    }
    remove_gone(wanted);
  }
  attach_interfaces(errors);
  if (!x_first_revision) {
    // Links have moved to these programs: nothing runs on the older versions' maps any more.
    for (const std::string& folder : other_pin_folders(x_options.bpffs)) {
      remove_pin_folder(folder);
    }
    x_first_revision = x_config.revision;
  }
  return joined(errors);
}

BpfRedirector::WantedEndpoints BpfRedirector::plan(std::span<const EndpointState> endpoints,
                                                   bool same_identities,
                                                   std::vector<std::string>& errors) {
  const Slot& used = x_policies[weir_slot(x_config.revision)];
  WantedEndpoints wanted;
  std::set<Address> taken;
  for (const EndpointState& state : endpoints) {
    Wanted& endpoint = wanted[state.id];
    endpoint.identity = state.identity;
    endpoint.interface = state.interface;
    endpoint.flags = flags_of(state);
    for (const IpAddress& address : state.addresses) {
      if (taken.insert(address.bytes()).second) {
        endpoint.addresses.push_back(address.bytes());
      } else {
        errors.push_back("endpoint " + std::to_string(state.id) + ": " + address.to_string() +
                         " is another endpoint's");
      }
    }
    if (state.held || (!state.ingress_enforced && !state.egress_enforced)) {
      continue;
    }
    const auto before = used.find(state.id);
    const TriePtr old = before == used.end() ? nullptr : before->second;
    if (old && old->content == content_of(state.rows)) {
      endpoint.policy = old;
      continue;
    }
    if (auto built = build_policy_trie(state.rows); built) {
      endpoint.policy = *built;
    } else {
      errors.push_back("endpoint " + std::to_string(state.id) + ": " + built.error().text());
      if (old && same_identities) {
        endpoint.policy = old;
      } else {
        endpoint.flags |= WEIR_ENDPOINT_HELD;
      }
    }
  }
  return wanted;
}

bool BpfRedirector::differs(const WantedEndpoints& wanted) const {
  const std::uint32_t used = weir_slot(x_config.revision);
  const Slot& slot = x_policies[used];
  std::size_t addresses = 0, policies = 0;
  for (const auto& [id, endpoint] : wanted) {
    for (const Address& address : endpoint.addresses) {
      const auto known = x_endpoints.find(address);
      if (known == x_endpoints.end() || known->second.id != id ||
          known->second.flags[used] != endpoint.flags) {
        return true;
      }
      ++addresses;
    }
    if (endpoint.policy) {
      const auto known = slot.find(id);
      if (known == slot.end() || known->second != endpoint.policy) {
        return true;
      }
      ++policies;
    }
  }
  return addresses != x_endpoints.size() || policies != slot.size();
}

Result<void> BpfRedirector::fill_slot(std::uint32_t slot, const WantedEndpoints& wanted,
                                      std::vector<std::string>& errors) {
  const Maps& maps = x_object.maps();
  Slot& held = x_policies[slot];
  for (auto entry = held.begin(); entry != held.end();) {
    const auto still = wanted.find(entry->first);
    if (still != wanted.end() && still->second.policy) {
      ++entry;
      continue;
    }
    const weir_policy_slot key{.endpoint = entry->first, .slot = slot};
    if (bpf_map_delete_elem(maps.policies, &key) != 0 && errno != ENOENT) {
      return errno_error("remove from weir_policies");
    }
    entry = held.erase(entry);
  }
  std::vector<weir_policy_slot> keys;
  std::vector<int> values;
  for (const auto& [id, endpoint] : wanted) {
    if (endpoint.policy && (!held.contains(id) || held[id] != endpoint.policy)) {
      keys.push_back({.endpoint = id, .slot = slot});
      values.push_back(endpoint.policy->map.get());
      held[id] = endpoint.policy;
    }
  }
  write_all(maps.policies, reinterpret_cast<const char*>(keys.data()), sizeof(weir_policy_slot),
            reinterpret_cast<const char*>(values.data()), sizeof(int), keys.size(),
            [&](std::size_t i, const Error& error) {
              // Without rows an enforced endpoint is locked: WEIR_DROP_NO_POLICY.
              held.erase(keys[i].endpoint);
              errors.push_back("endpoint " + std::to_string(keys[i].endpoint) + ": " +
                               error.text());
            });
  return {};
}

void BpfRedirector::write_endpoints(const WantedEndpoints& wanted, std::uint32_t used_slot,
                                    bool flipping, std::vector<std::string>& errors) {
  const std::uint32_t next_slot = used_slot ^ 1u;
  for (const auto& [id, endpoint] : wanted) {
    const auto interface = static_cast<std::uint32_t>(x_interfaces.index_of(endpoint.interface));
    for (const Address& address : endpoint.addresses) {
      const auto known = x_endpoints.find(address);
      const bool same = known != x_endpoints.end() && known->second.id == id;
      weir_endpoint value{};
      value.id = id;
      value.identity = endpoint.identity;
      value.ifindex = interface;
      value.flags[used_slot] =
          same ? known->second.flags[used_slot] : static_cast<std::uint16_t>(WEIR_ENDPOINT_HELD);
      value.flags[next_slot] = flipping ? endpoint.flags : known->second.flags[next_slot];
      if (same && std::memcmp(&value, &known->second, sizeof(value)) == 0) {
        continue;
      }
      const weir_addr key = abi_address(address);
      if (bpf_map_update_elem(x_object.maps().endpoints, &key, &value, BPF_ANY) != 0) {
        // A pod whose address is not known can neither send nor receive.
        errors.push_back("endpoint " + std::to_string(id) + ": " +
                         errno_error("write weir_endpoints").text());
        continue;
      }
      x_endpoints[address] = value;
    }
  }
}

Result<void> BpfRedirector::write_config(std::uint32_t revision, std::uint32_t workers) {
  const std::uint32_t zero = 0;
  const weir_config config{.revision = revision, .workers = workers};
  if (bpf_map_update_elem(x_object.maps().config, &zero, &config, BPF_ANY) != 0) {
    return errno_error("write weir_config");
  }
  x_config = config;
  return {};
}

void BpfRedirector::remove_gone(const WantedEndpoints& wanted) {
  const Maps& maps = x_object.maps();
  bool endpoint_gone = !x_first_revision;
  for (auto entry = x_endpoints.begin(); entry != x_endpoints.end();) {
    const auto owner = wanted.find(entry->second.id);
    endpoint_gone = endpoint_gone || owner == wanted.end();
    const bool stays = owner != wanted.end() &&
                       std::find(owner->second.addresses.begin(), owner->second.addresses.end(),
                                 entry->first) != owner->second.addresses.end();
    if (stays) {
      ++entry;
      continue;
    }
    const weir_addr key = abi_address(entry->first);
    (void)bpf_map_delete_elem(maps.endpoints, &key);
    entry = x_endpoints.erase(entry);
  }
  // The other slot is out of use: what it holds of pods that are gone is only memory.
  const std::uint32_t slot = weir_slot(x_config.revision + 1);
  std::erase_if(x_policies[slot], [&](const auto& policy) {
    const weir_policy_slot key{.endpoint = policy.first, .slot = slot};
    return !wanted.contains(policy.first) && bpf_map_delete_elem(maps.policies, &key) == 0;
  });
  if (endpoint_gone) {
    x_learned.remove_except([&](std::uint32_t endpoint) { return wanted.contains(endpoint); });
  }
}

void BpfRedirector::attach_interfaces(std::vector<std::string>& errors) {
  std::set<std::string> pods;
  for (const auto& [id, name] : x_interface_names) {
    if (!name.empty()) {
      pods.insert(name);
    }
  }
  x_interfaces.attach(pods, errors);
}

Result<void> BpfRedirector::handle_netlink() {
  auto changed = x_interfaces.update();
  if (!changed) {
    return changed.error();
  }
  if (!*changed || !x_first_revision) {
    return {};
  }
  // The map first: an interface that has its program before its addresses would drop everything.
  std::vector<std::string> errors;
  for (auto& [address, endpoint] : x_endpoints) {
    const auto name = x_interface_names.find(endpoint.id);
    const auto index = name == x_interface_names.end()
                           ? 0u
                           : static_cast<std::uint32_t>(x_interfaces.index_of(name->second));
    if (endpoint.ifindex == index) {
      continue;
    }
    weir_endpoint value = endpoint;
    value.ifindex = index;
    const weir_addr key = abi_address(address);
    if (bpf_map_update_elem(x_object.maps().endpoints, &key, &value, BPF_EXIST) != 0) {
      errors.push_back(errno_error("write weir_endpoints").text());
      continue;
    }
    endpoint = value;
  }
  attach_interfaces(errors);
  return joined(errors);
}

Result<void> BpfRedirector::hold_new_pods(OtherInterfaces others) {
  x_interfaces.hold_new_pods(std::move(others));
  std::vector<std::string> errors;
  if (x_first_revision) {
    attach_interfaces(errors);
  }
  return joined(errors);
}

Result<void> BpfRedirector::end_holds(std::chrono::steady_clock::time_point begun) {
  std::vector<std::string> errors;
  if (x_interfaces.end_holds(begun) && x_first_revision) {
    attach_interfaces(errors);
  }
  return joined(errors);
}

Result<void> BpfRedirector::set_services(std::span<const ServiceState> services) {
  return x_services.update(services);
}

std::optional<SocketAddress> BpfRedirector::backend_of(const SocketAddress& client,
                                                       const SocketAddress& destination,
                                                       std::uint8_t protocol) {
  return x_services.backend_of(client, destination, protocol);
}

Result<void> BpfRedirector::set_listeners(std::span<const WorkerListeners> workers) {
  if (workers.size() > WEIR_MAX_WORKERS) {
    return invalid_error("more than " + std::to_string(WEIR_MAX_WORKERS) + " workers");
  }
  const int map = x_object.maps().listeners;
  std::vector<int> tcp;
  for (const WorkerListeners& sockets : workers) {
    for (const int socket : {sockets.tcp4, sockets.tcp6}) {
      if (socket >= 0) {
        tcp.push_back(socket);
      }
    }
  }
  if (auto told = x_acceleration.set_listeners(std::move(tcp)); !told) {
    return told;
  }
  const auto write = [map](std::uint32_t index, int socket) {
    const auto value = static_cast<std::uint64_t>(socket);
    if (socket < 0) {
      (void)bpf_map_delete_elem(map, &index); // says EINVAL where there is none
      return true;
    }
    return bpf_map_update_elem(map, &index, &value, BPF_ANY) == 0;
  };
  for (std::uint32_t worker = 0; worker < WEIR_MAX_WORKERS; ++worker) {
    const WorkerListeners sockets = worker < workers.size() ? workers[worker] : WorkerListeners{};
    for (const std::uint32_t v6 : {0u, 1u}) {
      const std::vector<int>& lanes = v6 != 0 ? sockets.udp6 : sockets.udp4;
      bool written = write(weir_listener_index(WEIR_LISTENER_TCP, v6, worker, 0),
                           v6 != 0 ? sockets.tcp6 : sockets.tcp4);
      for (std::uint32_t lane = 0; lane < WEIR_UDP_LANES; ++lane) {
        written = written && write(weir_listener_index(WEIR_LISTENER_UDP, v6, worker, lane),
                                   lanes.empty() ? -1 : lanes[lane % lanes.size()]);
      }
      if (!written) {
        return errno_error("write weir_listeners");
      }
    }
  }
  return write_config(x_config.revision + WEIR_SLOTS, static_cast<std::uint32_t>(workers.size()));
}

Result<void> BpfRedirector::clear_listeners() {
  if (auto told = x_acceleration.set_listeners({}); !told) {
    return told;
  }
  if (auto written = write_config(x_config.revision, 0); !written) {
    return written.error();
  }
  for (std::uint32_t index = 0; index < WEIR_LISTENERS; ++index) {
    (void)bpf_map_delete_elem(x_object.maps().listeners, &index);
  }
  return {};
}

Result<Counters> BpfRedirector::counters() {
  return read_counters(x_object.maps().counters, x_object.maps().drops);
}

std::vector<MapUse> BpfRedirector::map_use() {
  const Maps& maps = x_object.maps();
  const struct {
    const char* name;
    int map;
    std::size_t key_size, value_size;
  } counted[] = {
      {"weir_endpoints", maps.endpoints, sizeof(weir_addr), sizeof(weir_endpoint)},
      {"weir_policies", maps.policies, sizeof(weir_policy_slot), sizeof(std::uint32_t)},
      {"weir_learned", maps.learned, sizeof(weir_learned_key), sizeof(weir_learned_entry)},
      {"weir_conntrack", maps.conntrack, sizeof(weir_ct_key), sizeof(weir_ct_entry)},
      {"weir_returns", maps.returns, sizeof(weir_tuple), sizeof(std::uint64_t)},
      {"weir_services", maps.services, sizeof(weir_service_key), sizeof(weir_service)},
      {"weir_backends", maps.backends, sizeof(weir_backend_key), sizeof(weir_backend)},
      {"weir_translations", maps.translations, sizeof(weir_translation_key),
       sizeof(weir_translation)},
  };
  std::vector<MapUse> uses;
  for (const auto& [name, map, key_size, value_size] : counted) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    if (bpf_map_get_info_by_fd(map, &info, &length) == 0) {
      uses.push_back({name, count_entries(map, key_size, value_size), info.max_entries});
    }
  }
  return uses;
}

int BpfRedirector::event_fd() const { return ring_buffer__epoll_fd(x_events.get()); }

std::span<const weir_event> BpfRedirector::read_events(std::size_t most) {
  x_most_events = most;
  x_taken_events.clear();
  (void)ring_buffer__consume(x_events.get());
  return x_taken_events;
}

} // namespace weir::redirect
