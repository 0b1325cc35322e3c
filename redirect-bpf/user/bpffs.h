// Where pins live: finding and mounting the BPF file system, and the folders below it. Path names
// there must not contain dots.
//
// Any thread. Errors: the environment's.
#pragma once

#include "proxy/base/result.h"

#include <optional>
#include <string>
#include <vector>

namespace weir::redirect {

// Where this type of file system ("cgroup2") is mounted, in the mount table's order.
[[nodiscard]] std::vector<std::string> find_mounts(const std::string& type);
// The first BPF file system.
[[nodiscard]] std::optional<std::string> find_bpffs();

// `path` is, or lies on, a BPF file system; or is made to be one. A mount made here carries weir's
// name, so that cleanup knows it.
Result<void> ensure_bpffs(const std::string& path);

// Undoes ensure_bpffs() where that made the mount and nobody else has pinned anything there.
void unmount_own_bpffs(const std::string& path);

// "<bpffs>/weir", and below it one folder an ABI version, with "maps" and "links".
[[nodiscard]] std::string pin_root(const std::string& bpffs);
[[nodiscard]] std::string pin_folder(const std::string& bpffs); // of this ABI version
// Folders of other ABI versions that are still there.
[[nodiscard]] std::vector<std::string> other_pin_folders(const std::string& bpffs);

// Makes pin_folder() with its sub-folders.
Result<void> make_pin_folders(const std::string& bpffs);

[[nodiscard]] std::vector<std::string> list_folder(const std::string& path); // names, sorted

} // namespace weir::redirect
