#include "redirect-bpf/user/loader.h"

#include "proxy/base/log.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/kernel_layout.h"
#include "redirect-bpf/user/pinned_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <redirect_tc.skel.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace weir::redirect {

namespace {

int log_libbpf(libbpf_print_level level, const char* format, std::va_list arguments) {
  const bool worth = level == LIBBPF_WARN;
  if (!worth && !log::enabled(log::Level::kDebug)) {
    return 0;
  }
  char line[1024];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  std::string_view text(line, length < 0 ? 0
                              : static_cast<std::size_t>(length) < sizeof(line)
                                  ? static_cast<std::size_t>(length)
                                  : sizeof(line) - 1);
  while (!text.empty() && text.back() == '\n') {
    text.remove_suffix(1);
  }
  log::write(worth ? log::Level::kWarning : log::Level::kDebug, text);
  return length;
}

Result<void> resize(redirect_tc& skeleton, const MapSizes& sizes) {
  const struct {
    bpf_map* map;
    std::uint32_t entries;
  } wanted[] = {
      {skeleton.maps.weir_endpoints, sizes.addresses},
      {skeleton.maps.weir_policies, sizes.endpoints * WEIR_SLOTS},
      {skeleton.maps.weir_learned, sizes.learned},
      {skeleton.maps.weir_conntrack, sizes.flows},
      {skeleton.maps.weir_translations, sizes.flows},
      {skeleton.maps.weir_returns, sizes.returns},
      {skeleton.maps.weir_services, sizes.services},
      {skeleton.maps.weir_backends, sizes.backends},
      {skeleton.maps.weir_members, sizes.backends},
      {skeleton.maps.weir_events, sizes.event_bytes},
  };
  for (const auto& [map, entries] : wanted) {
    if (const int error = bpf_map__set_max_entries(map, entries); error != 0) {
      return errno_error(-error, std::string("size map ") + bpf_map__name(map));
    }
  }
  return {};
}

} // namespace

void BpfObject::Destroy::operator()(redirect_tc* skeleton) const { redirect_tc__destroy(skeleton); }

Result<BpfObject> BpfObject::load(const std::string& folder, const MapSizes& sizes) {
  libbpf_set_print(log_libbpf);
  BpfObject object;
  object.x_skeleton.reset(redirect_tc__open());
  if (!object.x_skeleton) {
    return errno_error("open the BPF object");
  }
  redirect_tc& skeleton = *object.x_skeleton;
  if (auto resized = resize(skeleton, sizes); !resized) {
    return resized.error();
  }

  if (auto layout = kernel_layout(); layout) {
    skeleton.rodata->weir_kernel_layout = *layout;
  } else {
    log::warning("a new pod's interface is not told from others before it has its programs: {}",
                 layout.error().text());
  }
  const auto fresh = adopt_pinned_maps(*skeleton.obj, folder);
  if (!fresh) {
    return fresh.error();
  }
  if (const int error = redirect_tc__load(&skeleton); error != 0) {
    return errno_error(-error, "load the BPF programs");
  }
  if (auto pinned = pin_maps(*fresh); !pinned) {
    return pinned.error();
  }

  const auto& maps = skeleton.maps;
  object.x_maps = {.config = bpf_map__fd(maps.weir_config),
                   .endpoints = bpf_map__fd(maps.weir_endpoints),
                   .bridges = bpf_map__fd(maps.weir_bridges),
                   .interfaces = bpf_map__fd(maps.weir_interfaces),
                   .births = bpf_map__fd(maps.weir_births),
                   .names = bpf_map__fd(maps.weir_names),
                   .identities = bpf_map__fd(maps.weir_identities),
                   .policies = bpf_map__fd(maps.weir_policies),
                   .learned = bpf_map__fd(maps.weir_learned),
                   .conntrack = bpf_map__fd(maps.weir_conntrack),
                   .returns = bpf_map__fd(maps.weir_returns),
                   .services = bpf_map__fd(maps.weir_services),
                   .backends = bpf_map__fd(maps.weir_backends),
                   .members = bpf_map__fd(maps.weir_members),
                   .translations = bpf_map__fd(maps.weir_translations),
                   .listeners = bpf_map__fd(maps.weir_listeners),
                   .counters = bpf_map__fd(maps.weir_counters),
                   .drops = bpf_map__fd(maps.weir_drops),
                   .events = bpf_map__fd(maps.weir_events)};
  object.x_programs = {.from_pod = bpf_program__fd(skeleton.progs.weir_from_pod),
                       .to_pod = bpf_program__fd(skeleton.progs.weir_to_pod),
                       .from_net = bpf_program__fd(skeleton.progs.weir_from_net),
                       .from_ports = bpf_program__fd(skeleton.progs.weir_from_ports),
                       .to_net = bpf_program__fd(skeleton.progs.weir_to_net),
                       .to_socket = bpf_program__fd(skeleton.progs.weir_to_socket),
                       .reopen = bpf_program__fd(skeleton.progs.weir_reopen),
                       .find_netns = bpf_program__fd(skeleton.progs.weir_find_netns)};
  return object;
}

} // namespace weir::redirect
