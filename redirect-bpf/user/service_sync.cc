#include "redirect-bpf/user/service_sync.h"

#include "proxy/base/clocks.h"
#include "redirect-bpf/bpf/decide.h"
#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace weir::redirect {

namespace {

template <typename Abi>
std::vector<std::uint8_t> bytes_of(const Abi& value) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
  return {begin, begin + sizeof(value)};
}

weir_service_key key_of(const IpAddress& address, std::uint16_t port, std::uint8_t protocol) {
  return {.address = to_abi(address), .port_be = htons(port), .protocol = protocol, .pad = 0};
}

weir_backend abi_backend(const SocketAddress& backend) {
  return {.address = to_abi(backend.ip), .port_be = htons(backend.port), .pad = {}};
}

bool same(const weir_backend& a, const weir_backend& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

} // namespace

ServiceSync::ServiceSync(Maps maps) : x_maps(maps) {
  for (const weir_service_key& key : list_keys<weir_service_key>(x_maps.services)) {
    weir_service value{};
    if (bpf_map_lookup_elem(x_maps.services, &key, &value) == 0) {
      x_held[bytes_of(key)].value = value;
      x_last_id = std::max(x_last_id, value.id);
      x_last_set = std::max(x_last_set, value.set);
    }
  }
  for (const weir_backend_key& key : list_keys<weir_backend_key>(x_maps.backends)) {
    x_last_set = std::max(x_last_set, key.set);
  }
  x_in_use = !x_held.empty();
}

Result<std::uint32_t> ServiceSync::write_set(const std::vector<weir_backend>& backends) {
  const std::uint32_t set = ++x_last_set;
  const std::uint32_t unused = 0;
  for (std::uint32_t index = 0; index < backends.size(); ++index) {
    const weir_backend_key key{.set = set, .index = index};
    const weir_member_key member{.set = set, .backend = backends[index]};
    if (bpf_map_update_elem(x_maps.backends, &key, &backends[index], BPF_ANY) != 0) {
      return errno_error("write weir_backends");
    }
    if (bpf_map_update_elem(x_maps.members, &member, &unused, BPF_ANY) != 0) {
      return errno_error("write weir_members");
    }
  }
  return set;
}

void ServiceSync::remove_sets_except(const std::set<std::uint32_t>& kept) {
  for (const weir_backend_key& key : list_keys<weir_backend_key>(x_maps.backends)) {
    if (!kept.contains(key.set)) {
      (void)bpf_map_delete_elem(x_maps.backends, &key);
    }
  }
  for (const weir_member_key& key : list_keys<weir_member_key>(x_maps.members)) {
    if (!kept.contains(key.set)) {
      (void)bpf_map_delete_elem(x_maps.members, &key);
    }
  }
}

// The address entries of services with flows that are not over.
std::set<ServiceSync::Key> ServiceSync::called_addresses() const {
  std::set<Key> called;
  const std::uint64_t now = monotonic_ns();
  for (const weir_translation_key& key : list_keys<weir_translation_key>(x_maps.translations)) {
    weir_translation value{};
    if (key.kind == WEIR_TO_BACKEND &&
        bpf_map_lookup_elem(x_maps.translations, &key, &value) == 0 &&
        !weir_is_stale(
            now, value.last_seen_ns,
            weir_flow_lifetime_ns(key.tuple.protocol,
                                  static_cast<std::uint8_t>(value.flags | WEIR_CT_REPLIED)))) {
      const weir_service_key address{
          .address = key.tuple.destination, .port_be = 0, .protocol = 0, .pad = 0};
      called.insert(bytes_of(address));
    }
  }
  return called;
}

Result<void> ServiceSync::update(std::span<const ServiceState> wanted) {
  std::string errors;
  std::set<Key> named;
  bool changed = false;
  std::set<std::uint32_t> before;
  for (const auto& [key, held] : x_held) {
    before.insert(held.value.set);
  }
  const auto write = [&](const weir_service_key& key, const weir_service& value) {
    if (bpf_map_update_elem(x_maps.services, &key, &value, BPF_ANY) == 0) {
      return true;
    }
    errors += (errors.empty() ? "" : "; ") + errno_error("write weir_services").text();
    return false;
  };
  for (const ServiceState& service : wanted) {
    const weir_service_key key = key_of(service.address.ip, service.address.port, service.protocol);
    const Key bytes = bytes_of(key);
    if (!named.insert(bytes).second) {
      continue; // two services of one address: the first has it
    }
    std::vector<weir_backend> backends;
    for (const SocketAddress& backend : service.backends) {
      backends.push_back(abi_backend(backend));
    }
    const auto known = x_held.find(bytes);
    weir_service value{};
    value.id =
        known != x_held.end() && known->second.value.id != 0 ? known->second.value.id : ++x_last_id;
    value.backends = static_cast<std::uint32_t>(backends.size());
    value.affinity_seconds = static_cast<std::uint32_t>(service.affinity.count());
    value.flags = service.guarded ? WEIR_SERVICE_GUARDED : 0;
    if (known != x_held.end() && known->second.value.set != 0 &&
        std::equal(backends.begin(), backends.end(), known->second.backends.begin(),
                   known->second.backends.end(), same)) {
      value.set = known->second.value.set;
      if (std::memcmp(&value, &known->second.value, sizeof(value)) == 0) {
        continue;
      }
    } else {
      auto set = write_set(backends);
      if (!set) {
        errors += (errors.empty() ? "" : "; ") + set.error().text();
        continue;
      }
      value.set = *set;
    }
    // The address first: an entry of its own says that there is anything to look for.
    const weir_service_key address = key_of(service.address.ip, 0, 0);
    if (write(address, {}) && write(key, value)) {
      x_held[bytes] = {value, std::move(backends)};
      changed = true;
    }
  }
  for (const ServiceState& service : wanted) {
    named.insert(bytes_of(key_of(service.address.ip, 0, 0)));
  }
  // Of a service that is gone the address stays known for as long as connections to it last.
  std::vector<weir_service_key> gone;
  for (const weir_service_key& key : list_keys<weir_service_key>(x_maps.services)) {
    if (!named.contains(bytes_of(key))) {
      gone.push_back(key);
    }
  }
  std::set<Key> called;
  if (!gone.empty()) {
    called = called_addresses();
  }
  x_in_use = !named.empty() || !called.empty();
  for (const weir_service_key& key : gone) {
    if (key.port_be != 0 || !called.contains(bytes_of(key))) {
      (void)bpf_map_delete_elem(x_maps.services, &key);
      changed = x_held.erase(bytes_of(key)) != 0 || changed;
    }
  }
  if (changed || !x_retired.empty()) {
    std::set<std::uint32_t> live;
    for (const auto& [key, held] : x_held) {
      live.insert(held.value.set);
    }
    std::set<std::uint32_t> kept = live;
    kept.insert(before.begin(), before.end());
    remove_sets_except(kept);
    x_retired.clear();
    std::set_difference(before.begin(), before.end(), live.begin(), live.end(),
                        std::inserter(x_retired, x_retired.end()));
  }
  if (!errors.empty()) {
    return Error{std::make_error_code(std::errc::not_enough_memory), "services: " + errors};
  }
  return {};
}

std::optional<SocketAddress> ServiceSync::backend_of(const SocketAddress& client,
                                                     const SocketAddress& service,
                                                     std::uint8_t protocol) const {
  if (!x_in_use.load(std::memory_order_relaxed)) {
    return std::nullopt;
  }
  weir_translation_key key{};
  key.kind = WEIR_TO_BACKEND;
  key.tuple.source = to_abi(client.ip);
  key.tuple.source_port_be = htons(client.port);
  key.tuple.destination = to_abi(service.ip);
  key.tuple.destination_port_be = htons(service.port);
  key.tuple.protocol = protocol;
  weir_translation value{};
  if (bpf_map_lookup_elem(x_maps.translations, &key, &value) != 0) {
    return std::nullopt;
  }
  return SocketAddress{from_abi(value.other.address), ntohs(value.other.port_be)};
}

} // namespace weir::redirect
