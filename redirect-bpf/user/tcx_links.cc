#include "redirect-bpf/user/tcx_links.h"

#include "redirect-bpf/user/bpffs.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>

namespace weir::redirect {

namespace {

constexpr std::uint32_t kTcxLink = 11;     // BPF_LINK_TYPE_TCX
constexpr std::uint32_t kBefore = 1u << 3; // BPF_F_BEFORE: with no other named, first of all

bpf_attach_type attach_type(Hook hook) { return hook == Hook::kIngress ? kTcxIngress : kTcxEgress; }

std::string link_name(int interface, Hook hook) {
  return "i" + std::to_string(interface) + (hook == Hook::kIngress ? "_ingress" : "_egress");
}

std::optional<int> interface_of(const std::string& name) {
  int interface = 0;
  const char* end = name.data() + name.size();
  if (name.empty() || name[0] != 'i') {
    return std::nullopt;
  }
  const auto [rest, error] = std::from_chars(name.data() + 1, end, interface);
  if (error != std::errc{} || rest == end || *rest != '_') {
    return std::nullopt;
  }
  return interface;
}

// Is the link alive, on this interface? Indexes are used again, and a link whose interface is gone
// stays as a pin that attaches nothing.
bool is_link_of(int link, int interface, Hook hook) {
  bpf_link_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_link_get_info_by_fd(link, &info, &length) != 0 || info.type != kTcxLink) {
    return false;
  }
  // Headers of Linux 6.1 have no `tcx` here; its two fields lie where those of `netns` do.
  return info.netns.netns_ino == static_cast<std::uint32_t>(interface) &&
         info.netns.attach_type == static_cast<std::uint32_t>(attach_type(hook));
}

UniqueFd open_pinned(const std::string& path, int interface, Hook hook) {
  UniqueFd link(bpf_obj_get(path.c_str()));
  if (link.valid() && !is_link_of(link.get(), interface, hook)) {
    link.reset();
    ::unlink(path.c_str());
  }
  return link;
}

Result<UniqueFd> make_link(int interface, Hook hook, int program) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.flags = hook == Hook::kIngress ? kBefore : 0;
  UniqueFd link(bpf_link_create(program, interface, attach_type(hook), &options));
  if (!link.valid()) {
    return errno_error("attach to interface " + std::to_string(interface));
  }
  return link;
}

} // namespace

Result<bool> TcxLinks::supported(int program) {
  constexpr int kLoopback = 1;
  const auto link = make_link(kLoopback, Hook::kEgress, program);
  if (!link && link.error().code.value() != EINVAL) {
    return link.error();
  }
  return link.has_value();
}

Result<void> TcxLinks::attach(int interface, Hook hook, int program) {
  const std::string name = link_name(interface, hook);
  const std::string path = pin_folder(x_bpffs) + "/links/" + name;
  UniqueFd& link = x_links[{interface, hook}];
  if (!link.valid() || !is_link_of(link.get(), interface, hook)) {
    link = open_pinned(path, interface, hook);
  }
  std::string former;
  if (!link.valid()) {
    for (const std::string& folder : other_pin_folders(x_bpffs)) {
      former = folder + "/links/" + name;
      link = open_pinned(former, interface, hook);
      if (link.valid()) {
        break;
      }
    }
  }
  const bool pinned_here = link.valid() && ::access(path.c_str(), F_OK) == 0;
  if (link.valid()) {
    if (bpf_link_update(link.get(), program, nullptr) != 0) {
      return errno_error("replace the program on interface " + std::to_string(interface));
    }
  } else {
    auto made = make_link(interface, hook, program);
    if (!made) {
      return made.error();
    }
    link = std::move(*made);
    former.clear();
  }
  if (!pinned_here && bpf_obj_pin(link.get(), path.c_str()) != 0) {
    return errno_error("pin " + path);
  }
  if (!former.empty()) {
    ::unlink(former.c_str());
  }
  return {};
}

void TcxLinks::forget_missing(const std::map<int, Interface>& present) {
  std::erase_if(x_links, [&](const auto& link) { return !present.contains(link.first.first); });
  const std::string folder = pin_folder(x_bpffs) + "/links";
  for (const std::string& name : list_folder(folder)) {
    if (const auto interface = interface_of(name); interface && !present.contains(*interface)) {
      ::unlink((folder + "/" + name).c_str());
    }
  }
}

} // namespace weir::redirect
