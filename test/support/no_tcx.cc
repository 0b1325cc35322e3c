// Preloaded (LD_PRELOAD), it makes a kernel one without tcx links, as those before Linux 6.6 are,
// to whoever asks by libbpf.
#include "redirect-bpf/user/tcx_links.h"

#include <bpf/bpf.h>
#include <dlfcn.h>

#include <cerrno>

extern "C" int bpf_link_create(int program, int target, bpf_attach_type type,
                               const bpf_link_create_opts* options) {
  using weir::redirect::kTcxEgress, weir::redirect::kTcxIngress;
  if (type == kTcxIngress || type == kTcxEgress) {
    errno = EINVAL;
    return -EINVAL;
  }
  const auto real =
      reinterpret_cast<decltype(&bpf_link_create)>(::dlsym(RTLD_NEXT, "bpf_link_create"));
  return real(program, target, type, options);
}
