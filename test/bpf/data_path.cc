#include "test/bpf/data_path.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "test/support/must.h"
#include "test/support/netns.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <time.h>

#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace weir::test {

namespace {

weir_addr abi(std::string_view text) { return redirect::to_abi(IpAddress::parse(text).value()); }

} // namespace

DataPath::DataPath(std::uint32_t flows)
    : x_bpffs(redirect::find_bpffs().value_or("/sys/fs/bpf") + "/" + unique_name()),
      x_ring(nullptr, &ring_buffer__free) {
  must(redirect::ensure_bpffs(x_bpffs).has_value(), "no BPF file system");
  must(redirect::make_pin_folders(x_bpffs).has_value(), "make folders");
  auto object = redirect::BpfObject::load(redirect::pin_folder(x_bpffs), {.addresses = 64,
                                                                          .endpoints = 16,
                                                                          .learned = 64,
                                                                          .flows = flows,
                                                                          .returns = 4096,
                                                                          .event_bytes = 1u << 16});
  if (!object) {
    throw std::runtime_error(object.error().text());
  }
  x_object = std::move(*object);
  const redirect::Maps& maps = x_object->maps();

  x_pods = {{kA, kIdentityA, "10.1.0.1", "fd00:1::1"}, {kB, kIdentityB, "10.1.0.2", "fd00:1::2"}};
  redirect::IdentityRows::Editor identities{{}};
  for (const Pod& pod : x_pods) {
    for (const std::string_view address : {pod.v4, pod.v6}) {
      identities.set(IpPrefix::host(IpAddress::parse(address).value()), pod.identity);
    }
  }
  identities.set(IpPrefix::parse("172.31.0.1/32").value(), WEIR_IDENTITY_HOST);
  const auto rows = identities.take();
  x_identities = redirect::build_identity_trie(rows, rows.size()).value();
  const int trie = x_identities.get();
  for (std::uint32_t slot = 0; slot < WEIR_SLOTS; ++slot) {
    must(bpf_map_update_elem(maps.identities, &slot, &trie, BPF_ANY) == 0, "identities");
  }
  for (const Pod& pod : x_pods) {
    set_policy(pod.id, 0, std::nullopt);
  }
  auto take = [](void* self, void* data, std::size_t /*size*/) {
    static_cast<DataPath*>(self)->x_events.push_back(*static_cast<const weir_event*>(data));
    return 0;
  };
  x_ring.reset(ring_buffer__new(maps.events, take, this, nullptr));
  must(x_ring != nullptr, "ring buffer");
}

DataPath::~DataPath() {
  // Not cleanup(): the routes and rules of this machine are none of ours.
  redirect::remove_pin_folder(redirect::pin_folder(x_bpffs));
  ::rmdir(redirect::pin_root(x_bpffs).c_str());
  ::rmdir(x_bpffs.c_str());
}

DataPath::Pod& DataPath::pod(std::uint32_t id) {
  for (Pod& pod : x_pods) {
    if (pod.id == id) {
      return pod;
    }
  }
  throw std::runtime_error("no such pod");
}

void DataPath::write(Pod& pod, std::uint32_t slot, std::uint16_t flags,
                     const std::optional<std::vector<redirect::PolicyRow>>& rows) {
  const redirect::Maps& maps = x_object->maps();
  const weir_policy_slot where{.endpoint = pod.id, .slot = slot};
  if (rows) {
    auto trie = redirect::build_policy_trie(*rows).value();
    const int fd = trie->map.get();
    must(bpf_map_update_elem(maps.policies, &where, &fd, BPF_ANY) == 0, "policies");
    pod.tries.push_back(std::move(trie));
  } else {
    (void)bpf_map_delete_elem(maps.policies, &where);
  }
  pod.flags[slot] = flags;
  for (const std::string_view address : {pod.v4, pod.v6}) {
    const weir_addr key = abi(address);
    const weir_endpoint value{.id = pod.id,
                              .identity = pod.identity,
                              .ifindex = pod.interface,
                              .flags = {pod.flags[0], pod.flags[1]}};
    must(bpf_map_update_elem(maps.endpoints, &key, &value, BPF_ANY) == 0, "endpoints");
  }
}

void DataPath::set_policy(std::uint32_t endpoint, std::uint16_t flags,
                          const std::optional<std::vector<redirect::PolicyRow>>& rows) {
  for (std::uint32_t slot = 0; slot < WEIR_SLOTS; ++slot) {
    write(pod(endpoint), slot, flags, rows);
  }
}

void DataPath::change_policy(std::uint32_t endpoint, std::uint16_t flags,
                             const std::optional<std::vector<redirect::PolicyRow>>& rows) {
  write(pod(endpoint), weir_slot(x_revision + 1), flags, rows);
  const std::uint32_t zero = 0;
  const weir_config config{.revision = ++x_revision, .workers = 0};
  must(bpf_map_update_elem(x_object->maps().config, &zero, &config, BPF_ANY) == 0, "config");
}

void DataPath::replace(std::uint32_t endpoint, std::uint32_t by, std::uint16_t flags,
                       const std::optional<std::vector<redirect::PolicyRow>>& rows) {
  pod(endpoint).id = by;
  set_policy(by, flags, rows);
}

void DataPath::set_interface(std::uint32_t endpoint, std::uint32_t interface) {
  Pod& changed = pod(endpoint);
  changed.interface = interface;
  write(changed, 0, changed.flags[0], std::nullopt);
}

void DataPath::learn(std::uint32_t endpoint, std::string_view address, std::uint64_t groups,
                     std::uint64_t expires_ns) {
  const weir_learned_key key{.endpoint = endpoint, .address = abi(address)};
  const weir_learned_entry entry{.groups = groups, .expires_ns = expires_ns, .last_used_ns = 0};
  must(bpf_map_update_elem(x_object->maps().learned, &key, &entry, BPF_ANY) == 0, "learned");
}

std::uint64_t DataPath::last_used_ns(std::uint32_t endpoint, std::string_view address) {
  const weir_learned_key key{.endpoint = endpoint, .address = abi(address)};
  weir_learned_entry entry{};
  must(bpf_map_lookup_elem(x_object->maps().learned, &key, &entry) == 0, "learned");
  return entry.last_used_ns;
}

void DataPath::forget_flows() {
  const redirect::Maps& maps = x_object->maps();
  for (const weir_ct_key& key : redirect::list_keys<weir_ct_key>(maps.conntrack)) {
    (void)bpf_map_delete_elem(maps.conntrack, &key);
  }
  for (const weir_tuple& key : redirect::list_keys<weir_tuple>(maps.returns)) {
    (void)bpf_map_delete_elem(maps.returns, &key);
  }
}

BpfRun DataPath::from_pod(const PacketBuilder& packet, std::uint32_t mark, int runs) {
  return run_tc_program(x_object->programs().from_pod, packet.build(), mark, 1, 0, runs);
}
BpfRun DataPath::to_pod(const PacketBuilder& packet, std::uint32_t mark, std::uint32_t came_by) {
  return run_tc_program(x_object->programs().to_pod, packet.build(), mark, 1, came_by);
}
BpfRun DataPath::from_net(const PacketBuilder& packet, std::uint32_t mark) {
  return run_tc_program(x_object->programs().from_net, packet.build(), mark);
}
BpfRun DataPath::from_ports(const PacketBuilder& packet) {
  return run_tc_program(x_object->programs().from_ports, packet.build());
}
BpfRun DataPath::to_net(const PacketBuilder& packet, std::uint32_t mark, std::uint32_t came_by) {
  return run_tc_program(x_object->programs().to_net, packet.build(), mark, 1, came_by);
}

std::uint64_t DataPath::sum(int map, std::uint32_t index) {
  std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  must(bpf_map_lookup_elem(map, &index, values.data()) == 0, "counter");
  std::uint64_t total = 0;
  for (const std::uint64_t value : values) {
    total += value;
  }
  return total;
}

std::uint64_t DataPath::drops(weir_drop reason, weir_direction direction) {
  return sum(x_object->maps().drops, weir_drop_index(reason, direction));
}

std::uint64_t DataPath::count(weir_counter counter) {
  return sum(x_object->maps().counters, counter);
}

std::vector<weir_event> DataPath::events() {
  x_events.clear();
  ring_buffer__consume(x_ring.get());
  return std::exchange(x_events, {});
}

} // namespace weir::test
