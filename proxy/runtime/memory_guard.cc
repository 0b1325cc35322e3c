#include "proxy/runtime/memory_guard.h"

#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace weir::runtime {
namespace {

struct Mount {
  std::string root, folder; // what of the hierarchy is mounted, and where
};

// The mount of cgroup2, or of v1's memory controller (proc_pid_mountinfo(5)).
std::optional<Mount> mount_of(const std::string& proc, bool v2) {
  std::ifstream file(proc + "/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word, type, source, options;
    Mount mount;
    words >> word >> word >> word >> mount.root >> mount.folder;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> options;
    options = "," + options + ",";
    if (v2 ? type == "cgroup2"
           : type == "cgroup" && options.find(",memory,") != std::string::npos) {
      return mount;
    }
  }
  return std::nullopt;
}

// The group's path from its hierarchy's root (cgroups(7)): "0::/a/b", "4:memory:/a/b".
std::optional<std::string> group_of(const std::string& proc, bool v2) {
  std::ifstream file(proc + "/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (v2 ? line.starts_with("0::") : controllers.find(",memory,") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> read_limit(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  std::size_t value = 0;
  if (!(file >> text) ||
      std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
    return std::nullopt; // "max", or not there
  }
  return value;
}

} // namespace

std::optional<std::size_t> memory_limit(const std::string& proc) {
  std::optional<std::size_t> smallest;
  for (const bool v2 : {true, false}) {
    const auto mount = mount_of(proc, v2);
    auto group = group_of(proc, v2);
    if (!mount || !group) {
      continue;
    }
    // In a container the mount may begin at its own group.
    if (mount->root != "/" && group->starts_with(mount->root)) {
      group->erase(0, mount->root.size());
    }
    for (std::string at = *group;; at.erase(at.rfind('/'))) {
      const auto limit =
          read_limit(mount->folder + at + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
      if (limit && (!smallest || *limit < *smallest)) {
        smallest = limit;
      }
      if (at.rfind('/') == std::string::npos) {
        break;
      }
    }
  }
  return smallest;
}

bool MemoryGuard::is_short() {
  if (!x_limit) {
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - x_asked >= kInterval) {
    x_asked = now;
    const struct mallinfo2 heap = ::mallinfo2();
    x_short = heap.uordblks + heap.hblkhd > *x_limit / 4 * 3;
  }
  return x_short;
}

} // namespace weir::runtime
