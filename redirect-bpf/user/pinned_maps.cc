#include "redirect-bpf/user/pinned_maps.h"

#include "proxy/base/unique_fd.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>

namespace weir::redirect {

namespace {

Result<void> adopt_map(bpf_map* map, int fd, const std::string& path) {
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_map_get_info_by_fd(fd, &info, &length) != 0) {
    return errno_error("read about " + path);
  }
  if (info.type != static_cast<std::uint32_t>(bpf_map__type(map)) ||
      info.key_size != bpf_map__key_size(map) || info.value_size != bpf_map__value_size(map)) {
    return invalid_error(path + " has another layout than this version of weir: clean up first");
  }
  if (const int error = bpf_map__reuse_fd(map, fd); error != 0) {
    return errno_error(-error, "adopt " + path);
  }
  return {};
}

} // namespace

Result<FreshMaps> adopt_pinned_maps(bpf_object& object, const std::string& folder) {
  FreshMaps fresh;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (bpf_map__is_internal(map)) {
      continue; // constants: this object's own
    }
    const std::string path = folder + "/maps/" + bpf_map__name(map);
    const UniqueFd pinned(bpf_obj_get(path.c_str()));
    if (!pinned.valid()) {
      if (errno != ENOENT) {
        return errno_error("open " + path);
      }
      fresh.emplace_back(map, path);
    } else if (auto adopted = adopt_map(map, pinned.get(), path); !adopted) {
      return adopted.error();
    }
  }
  return fresh;
}

Result<void> pin_maps(const FreshMaps& fresh) {
  for (const auto& [made, path] : fresh) {
    if (bpf_obj_pin(bpf_map__fd(made), path.c_str()) != 0) {
      return errno_error("pin " + path);
    }
  }
  return {};
}

} // namespace weir::redirect
