#include "redirect-bpf/user/bpffs.h"

#include "redirect-bpf/abi/weir_abi.h"

#include <dirent.h>
#include <mntent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace weir::redirect {

namespace {

constexpr long kBpffsMagic = 0xcafe4a11;
constexpr const char* kMountName = "weir";

bool is_bpffs(const std::string& path) {
  struct statfs status{};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == kBpffsMagic;
}

// Calls `visit(name, folder, type)` for each mount until it says true.
template <typename Visit>
void each_mount(Visit visit) {
  std::unique_ptr<FILE, int (*)(FILE*)> table(::setmntent("/proc/self/mounts", "r"), &::endmntent);
  if (!table) {
    return;
  }
  mntent entry{};
  char buffer[4096];
  while (::getmntent_r(table.get(), &entry, buffer, sizeof(buffer)) != nullptr) {
    if (visit(entry.mnt_fsname, entry.mnt_dir, entry.mnt_type)) {
      return;
    }
  }
}

Result<void> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return errno_error("make " + path);
  }
  return {};
}

} // namespace

std::vector<std::string> find_mounts(const std::string& type) {
  std::vector<std::string> found;
  each_mount(
      [&](const std::string& /*name*/, const std::string& folder, const std::string& mounted) {
        if (mounted == type) {
          found.push_back(folder);
        }
        return false;
      });
  return found;
}

std::optional<std::string> find_bpffs() {
  const auto found = find_mounts("bpf");
  return found.empty() ? std::nullopt : std::optional(found.front());
}

Result<void> ensure_bpffs(const std::string& path) {
  if (is_bpffs(path)) {
    return {};
  }
  // A folder that is to be made on a BPF file system needs no mount.
  if (const auto slash = path.find_last_of('/');
      slash != std::string::npos && slash > 0 && is_bpffs(path.substr(0, slash))) {
    return make_folder(path);
  }
  if (auto made = make_folder(path); !made) {
    return made.error();
  }
  if (::mount(kMountName, path.c_str(), "bpf", 0, "mode=0700") != 0) {
    return errno_error("mount a BPF file system at " + path);
  }
  return {};
}

void unmount_own_bpffs(const std::string& path) {
  bool own = false;
  each_mount([&](const std::string& name, const std::string& folder, const std::string& type) {
    if (folder == path && type == "bpf") {
      own = name == kMountName; // the last mount at a place is the visible one
    }
    return false;
  });
  // The kernel puts two files of its own into every new mount.
  const auto names = list_folder(path);
  const bool unused = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return name == "maps.debug" || name == "progs.debug";
  });
  if (own && unused) {
    ::umount(path.c_str());
  }
}

std::string pin_root(const std::string& bpffs) { return bpffs + "/weir"; }

std::string pin_folder(const std::string& bpffs) {
  return pin_root(bpffs) + "/v" + std::to_string(WEIR_ABI_VERSION);
}

std::vector<std::string> other_pin_folders(const std::string& bpffs) {
  std::vector<std::string> folders;
  const std::string own = pin_folder(bpffs);
  for (const std::string& name : list_folder(pin_root(bpffs))) {
    std::string path = pin_root(bpffs) + "/" + name;
    if (path != own) {
      folders.push_back(std::move(path));
    }
  }
  return folders;
}

Result<void> make_pin_folders(const std::string& bpffs) {
  if (!is_bpffs(bpffs)) {
    return invalid_error(bpffs + " is no BPF file system; mount one there (mount -t bpf)");
  }
  const std::string folder = pin_folder(bpffs);
  for (const std::string& path : {pin_root(bpffs), folder, folder + "/maps", folder + "/links"}) {
    if (auto made = make_folder(path); !made) {
      return made.error();
    }
  }
  return {};
}

std::vector<std::string> list_folder(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), &::closedir);
  if (!folder) {
    return names;
  }
  while (const dirent* entry = ::readdir(folder.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back(std::move(name));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

} // namespace weir::redirect
