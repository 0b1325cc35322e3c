#include "redirect-bpf/user/cleanup.h"

#include "redirect-bpf/user/attachment.h"
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/clsact_filters.h"
#include "redirect-bpf/user/routes.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace weir::redirect {

void remove_pin_folder(const std::string& folder) {
  // Links first: without its maps' pins a program would go on, and nobody could find it.
  detach_all(folder + "/links");
  ::rmdir((folder + "/links").c_str());
  for (const std::string& name : list_folder(folder + "/maps")) {
    ::unlink((folder + "/maps/" + name).c_str());
  }
  ::rmdir((folder + "/maps").c_str());
  ::rmdir(folder.c_str());
}

Result<void> cleanup(const std::string& bpffs) {
  const Result<void> filters = remove_filters();
  const std::string root = pin_root(bpffs);
  for (const std::string& name : list_folder(root)) {
    remove_pin_folder(root + "/" + name);
  }
  Result<void> removed;
  if (::rmdir(root.c_str()) != 0 && errno != ENOENT) {
    removed = errno_error("remove " + root);
  }
  auto routes = remove_routes();
  unmount_own_bpffs(bpffs);
  return !filters ? filters : !removed ? removed : routes;
}

} // namespace weir::redirect
