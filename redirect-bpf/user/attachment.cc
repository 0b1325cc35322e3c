#include "redirect-bpf/user/attachment.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/clsact_filters.h"
#include "redirect-bpf/user/tcx_links.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::redirect {

namespace {

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

Result<AttachMode> best_mode(int program) {
  const auto links = TcxLinks::supported(program);
  if (!links) {
    return links.error();
  }
  return *links ? AttachMode::kTcx : AttachMode::kClsact;
}

} // namespace

std::string_view name_of(AttachMode mode) { return mode == AttachMode::kTcx ? "tcx" : "clsact"; }

Result<Attachments> Attachments::open(std::string bpffs, std::optional<AttachMode> mode,
                                      int program) {
  const Result<AttachMode> chosen = mode ? Result<AttachMode>(*mode) : best_mode(program);
  if (!chosen) {
    return chosen.error();
  }
  std::unique_ptr<InterfaceHooks> hooks;
  if (*chosen == AttachMode::kTcx) {
    hooks = std::make_unique<TcxLinks>(bpffs);
  } else if (auto filters = ClsactFilters::open(); filters) {
    hooks = std::make_unique<ClsactFilters>(std::move(*filters));
  } else {
    return filters.error();
  }
  return Attachments(std::move(bpffs), *chosen, std::move(hooks));
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

Result<void> Attachments::attach(int index, const Interface& interface, int ingress_program,
                                 int egress_program) {
  Attached& attached = x_attached[index];
  if (attached.serial != interface.serial || attached.losses != interface.losses) {
    attached = Attached{.serial = interface.serial, .losses = interface.losses};
  }
  // What leaves for the pod is judged before what it sends can make anybody answer.
  if (attached.egress_program != egress_program) {
    if (auto done = x_hooks->attach(index, Hook::kEgress, egress_program); !done) {
      return done.error();
    }
    attached.egress_program = egress_program;
  }
  if (attached.ingress_program != ingress_program) {
    if (auto done = x_hooks->attach(index, Hook::kIngress, ingress_program); !done) {
      return done.error();
    }
    attached.ingress_program = ingress_program;
  }
  return {};
}

void Attachments::forget_missing(const std::map<int, Interface>& present) {
  std::erase_if(x_attached, [&](const auto& entry) { return !present.contains(entry.first); });
  x_hooks->forget_missing(present);
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
