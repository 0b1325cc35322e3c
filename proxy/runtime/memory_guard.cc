#include "proxy/runtime/memory_guard.h"

#include <malloc.h>
#include <unistd.h>

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

std::optional<std::size_t> read_bytes(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  std::size_t value = 0;
  if (!(file >> text) ||
      std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
    return std::nullopt; // "max", or not there
  }
  return value;
}

// Page cache that the kernel can take back; memory.stat counts files in memory (shmem) with it.
std::size_t reclaimable(const MemoryGroup& group) {
  std::ifstream file(group.folder + "/memory.stat");
  std::size_t cache = 0, shared = 0, value = 0;
  for (std::string name; file >> name >> value;) {
    if (name == (group.v2 ? "file" : "total_cache")) {
      cache = value;
    } else if (name == (group.v2 ? "shmem" : "total_shmem")) {
      shared = value;
    }
  }
  return cache > shared ? cache - shared : 0;
}

// The process's resident pages that no file is behind (proc_pid_statm(5)).
std::size_t anonymous(const std::string& proc) {
  std::size_t all = 0, resident = 0, of_files = 0;
  std::ifstream(proc + "/statm") >> all >> resident >> of_files;
  return (resident - std::min(resident, of_files)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t usage(const MemoryGroup& group) {
  return read_bytes(group.folder + (group.v2 ? "/memory.current" : "/memory.usage_in_bytes"))
      .value_or(0);
}

} // namespace

std::optional<MemoryGroup> memory_group(const std::string& proc) {
  std::optional<MemoryGroup> smallest;
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
      const std::string folder = mount->folder + at;
      const auto limit = read_bytes(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
      if (limit && (!smallest || *limit < smallest->limit)) {
        smallest = MemoryGroup{*limit, folder, v2};
      }
      if (at.rfind('/') == std::string::npos) {
        break;
      }
    }
  }
  return smallest;
}

std::size_t charged_beside(const MemoryGroup& group, const std::string& proc) {
  const std::size_t charged = usage(group);
  return charged - std::min(charged, reclaimable(group) + anonymous(proc));
}

bool MemoryGuard::is_short() {
  if (!x_group) {
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - x_asked >= kInterval) {
    x_asked = now;
    const struct mallinfo2 heap = ::mallinfo2();
    const std::size_t in_use = heap.uordblks + heap.hblkhd, most = x_group->limit / 4 * 3;
    // All that is charged is an upper bound, and cheaper to read than its parts.
    x_short = usage(*x_group) + in_use > most && charged_beside(*x_group) + in_use > most;
  }
  return x_short;
}

} // namespace weir::runtime
