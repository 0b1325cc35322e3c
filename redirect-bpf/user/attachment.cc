#include "redirect-bpf/user/attachment.h"

#include "redirect-bpf/user/bpffs.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>

namespace weir::redirect {

namespace {

// Newer than the headers of Linux 6.1.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr std::uint32_t kTcxLink = 11; // BPF_LINK_TYPE_TCX
constexpr std::uint32_t kBefore = 1u
                                  << 3; // BPF_F_BEFORE: with no other program named, first of all

bpf_attach_type attach_type(TcxHook hook) {
  return hook == TcxHook::kIngress ? kTcxIngress : kTcxEgress;
}

std::string link_name(int interface, TcxHook hook) {
  return "i" + std::to_string(interface) + (hook == TcxHook::kIngress ? "_ingress" : "_egress");
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
bool is_link_of(int link, int interface, TcxHook hook) {
  bpf_link_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_link_get_info_by_fd(link, &info, &length) != 0 || info.type != kTcxLink) {
    return false;
  }
  // Headers of Linux 6.1 have no `tcx` here; its two fields lie where those of `netns` do.
  return info.netns.netns_ino == static_cast<std::uint32_t>(interface) &&
         info.netns.attach_type == static_cast<std::uint32_t>(attach_type(hook));
}

Result<UniqueFd> open_netns() {
  UniqueFd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!here.valid()) {
    return errno_error("open the network namespace");
  }
  return here;
}

bool is_lookup_of(int link, int netns) {
  bpf_link_info info{};
  std::uint32_t length = sizeof(info);
  struct stat status{};
  return bpf_link_get_info_by_fd(link, &info, &length) == 0 && info.type == BPF_LINK_TYPE_NETNS &&
         ::fstat(netns, &status) == 0 && info.netns.netns_ino == status.st_ino;
}

UniqueFd open_pinned(const std::string& path, int interface, TcxHook hook) {
  UniqueFd link(bpf_obj_get(path.c_str()));
  if (link.valid() && !is_link_of(link.get(), interface, hook)) {
    link.reset();
    ::unlink(path.c_str());
  }
  return link;
}

Result<UniqueFd> make_link(int interface, TcxHook hook, int program) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  // The pod's packets are judged as it sent them, and as it is about to get them: first on the way
  // in, last on the way out.
  options.flags = hook == TcxHook::kIngress ? kBefore : 0;
  UniqueFd link(bpf_link_create(program, interface, attach_type(hook), &options));
  if (!link.valid()) {
    return errno_error("attach to interface " + std::to_string(interface));
  }
  return link;
}

} // namespace

Result<void> Attachments::probe(int program) {
  constexpr int kLoopback = 1;
  auto link = make_link(kLoopback, TcxHook::kEgress, program);
  if (!link && link.error().code.value() == EINVAL) {
    return errno_error(EOPNOTSUPP, "this kernel has no tcx links; weir needs Linux 6.6 or later");
  }
  if (!link) {
    return link.error();
  }
  return {};
}

Result<UniqueFd> attach_lookup(int program) {
  const auto here = open_netns();
  if (!here) {
    return here.error();
  }
  UniqueFd link(bpf_link_create(program, here->get(), BPF_SK_LOOKUP, nullptr));
  if (!link.valid()) {
    return errno_error("attach to the network namespace");
  }
  return link;
}

Result<void> Attachments::attach_socket(int program) {
  if (x_socket.valid() && x_socket_program == program) {
    return {};
  }
  const auto here = open_netns();
  if (!here) {
    return here.error();
  }
  const std::string path = pin_folder(x_bpffs) + "/links/socket";
  UniqueFd link(bpf_obj_get(path.c_str()));
  if (link.valid() && is_lookup_of(link.get(), here->get())) {
    if (bpf_link_update(link.get(), program, nullptr) != 0) {
      return errno_error("replace the program on the network namespace");
    }
  } else {
    auto made = attach_lookup(program);
    if (!made) {
      return made.error();
    }
    link = std::move(*made);
    ::unlink(path.c_str()); // of a namespace that is gone
    if (bpf_obj_pin(link.get(), path.c_str()) != 0) {
      return errno_error("pin " + path);
    }
  }
  x_socket = std::move(link);
  x_socket_program = program;
  return {};
}

Result<void> Attachments::attach(int interface, std::uint64_t serial, int ingress_program,
                                 int egress_program) {
  Hooks& hooks = x_hooks[interface];
  if (hooks.serial != serial) {
    hooks = Hooks{.serial = serial, .ingress = {}, .egress = {}};
  }
  // What leaves for the pod is judged before what it sends can make anybody answer.
  if (hooks.egress_program != egress_program) {
    if (auto done = attach_one(interface, TcxHook::kEgress, egress_program, hooks.egress); !done) {
      return done.error();
    }
    hooks.egress_program = egress_program;
  }
  if (hooks.ingress_program != ingress_program) {
    if (auto done = attach_one(interface, TcxHook::kIngress, ingress_program, hooks.ingress);
        !done) {
      return done.error();
    }
    hooks.ingress_program = ingress_program;
  }
  return {};
}

Result<void> Attachments::attach_one(int interface, TcxHook hook, int program, UniqueFd& link) {
  const std::string name = link_name(interface, hook);
  const std::string path = pin_folder(x_bpffs) + "/links/" + name;
  if (!link.valid()) {
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

void Attachments::forget_missing(const std::map<int, Interface>& present) {
  std::erase_if(x_hooks, [&](const auto& hooks) { return !present.contains(hooks.first); });
  const std::string folder = pin_folder(x_bpffs) + "/links";
  for (const std::string& name : list_folder(folder)) {
    if (const auto interface = interface_of(name); interface && !present.contains(*interface)) {
      ::unlink((folder + "/" + name).c_str());
    }
  }
}

void detach_all(const std::string& folder) {
  for (const std::string& name : list_folder(folder)) {
    const std::string path = folder + "/" + name;
    const UniqueFd link(bpf_obj_get(path.c_str()));
    if (link.valid()) {
      // Also where another process still holds the link open.
      (void)bpf_link_detach(link.get());
    }
    ::unlink(path.c_str());
  }
}

} // namespace weir::redirect
