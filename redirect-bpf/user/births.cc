#include "redirect-bpf/user/births.h"

#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/map_sync.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace weir::redirect {

namespace {

bool is_open_ended(const std::string& name) { return name.ends_with('*'); }

std::string_view beginning_of(const std::string& name) {
  return std::string_view(name).substr(0, name.size() - (is_open_ended(name) ? 1 : 0));
}

weir_name_key key_of(const std::string& name) {
  const std::string_view beginning = beginning_of(name);
  weir_name_key key{};
  std::copy(beginning.begin(), beginning.end(), std::begin(key.name));
  key.prefix_length =
      8 * static_cast<std::uint32_t>(beginning.size() + (is_open_ended(name) ? 0 : 1));
  return key;
}

std::vector<char> bytes_of(const weir_name_key& key) {
  const auto* bytes = reinterpret_cast<const char*>(&key);
  return {bytes, bytes + sizeof key};
}

// No interface has such a name.
bool is_too_long(const std::string& name) {
  return beginning_of(name).size() >= WEIR_INTERFACE_NAME;
}

} // namespace

bool OtherInterfaces::contains(const std::string& name) const {
  return uplinks.contains(name) ||
         std::any_of(names.begin(), names.end(), [&](const std::string& other) {
           return is_open_ended(other) ? name.starts_with(beginning_of(other)) : name == other;
         });
}

Result<void> BirthSync::begin(int find_netns) {
  std::array<char, 64> packet{}; // what it is does not matter
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = packet.size();
  options.repeat = 1;
  if (bpf_prog_test_run_opts(find_netns, &options) != 0) {
    return errno_error("run weir_find_netns");
  }
  return {};
}

Result<void> BirthSync::add(int index, std::uint64_t serial) {
  const auto [entry, fresh] = x_added.try_emplace(index, serial);
  if (!fresh && entry->second == serial) {
    return {};
  }
  const auto key = static_cast<std::uint32_t>(index);
  if (bpf_map_update_elem(x_maps.interfaces, &key, &key, BPF_ANY) != 0) {
    const int failed = errno;
    x_added.erase(entry);
    // EINVAL: no such interface.
    return errno_error(failed == EINVAL ? ENODEV : failed, "write weir_interfaces");
  }
  entry->second = serial;
  return {};
}

void BirthSync::remove(int index) {
  const auto key = static_cast<std::uint32_t>(index);
  (void)bpf_map_delete_elem(x_maps.interfaces, &key); // else it was not there
  x_added.erase(index);
}

void BirthSync::forget_missing(const std::map<int, Interface>& present) {
  std::erase_if(x_added, [&](const auto& added) { return !present.contains(added.first); });
}

Result<void> BirthSync::hold(const std::set<std::string>& pods, const OtherInterfaces* others) {
  Names names;
  if (others != nullptr) {
    for (const std::string& name : others->names) {
      names.emplace(name, WEIR_NAME_OTHERS);
    }
  }
  for (const std::string& name : pods) {
    names[name] = WEIR_NAME_PODS;
  }
  if (auto written = write_names(names); !written) {
    return written;
  }
  const std::uint32_t zero = 0;
  weir_births births{};
  if (bpf_map_lookup_elem(x_maps.births, &zero, &births) != 0) {
    return errno_error("read weir_births");
  }
  births.flags = WEIR_BIRTHS_HELD | (others != nullptr ? WEIR_BIRTHS_VETHS : 0u);
  if (bpf_map_update_elem(x_maps.births, &zero, &births, BPF_ANY) != 0) {
    return errno_error("write weir_births");
  }
  return {};
}

Result<void> BirthSync::write_names(const Names& names) {
  if (x_names == names) {
    return {};
  }
  std::map<std::vector<char>, std::uint32_t> wanted;
  for (const auto& [name, whose] : names) {
    if (!is_too_long(name)) {
      wanted[bytes_of(key_of(name))] = whose;
    }
  }
  x_names.reset(); // until all of it is written
  for (const auto& key : list_keys<weir_name_key>(x_maps.names)) {
    if (!wanted.contains(bytes_of(key)) && bpf_map_delete_elem(x_maps.names, &key) != 0) {
      return errno_error("remove from weir_names");
    }
  }
  for (const auto& [key, whose] : wanted) {
    if (bpf_map_update_elem(x_maps.names, key.data(), &whose, BPF_ANY) != 0) {
      return errno_error("write weir_names");
    }
  }
  x_names = names;
  return {};
}

} // namespace weir::redirect
