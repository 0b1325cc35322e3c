#include "proxy/ctl/policy_files.h"

#include <algorithm>
#include <filesystem>

namespace weir::ctl {

namespace fs = std::filesystem;

Result<std::vector<std::string>> policy_files(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const auto& path : paths) {
    std::error_code failed;
    if (!fs::is_directory(path, failed)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (fs::directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed)) {
      const auto extension = at->path().extension();
      const bool hidden = at->path().filename().string().starts_with('.');
      if (!hidden && (extension == ".yaml" || extension == ".yml") && at->is_regular_file(failed)) {
        inside.push_back(at->path().string());
      }
    }
    if (failed) {
      return Error{failed, path};
    }
    if (inside.empty()) {
      return invalid_error(path + ": no *.yaml in it");
    }
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

} // namespace weir::ctl
