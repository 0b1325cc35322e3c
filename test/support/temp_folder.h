// A folder under the temporary directory, removed with everything in it.
#pragma once

#include "test/support/must.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace weir::test {

class TempFolder {
public:
  TempFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
    must(::mkdtemp(path.data()) != nullptr, "mkdtemp");
    x_path = path;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(x_path, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return x_path; }
  [[nodiscard]] std::string file(std::string_view name) const { return (x_path / name).string(); }
  // Returns the file's path.
  std::string write(std::string_view name, std::string_view text) const {
    std::ofstream(x_path / name) << text;
    return file(name);
  }

private:
  std::filesystem::path x_path;
};

} // namespace weir::test
