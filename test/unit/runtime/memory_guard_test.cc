#include "proxy/runtime/memory_guard.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace {

using namespace weir::runtime;
namespace fs = std::filesystem;

// A process as /proc tells of it, in a folder.
class Told {
public:
  Told() {
    std::string name = (fs::temp_directory_path() / "weir-memory-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    x_folder = name;
  }
  Told(const Told&) = delete;
  Told& operator=(const Told&) = delete;
  ~Told() { fs::remove_all(x_folder); }

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((x_folder / file).parent_path());
    std::ofstream(x_folder / file) << text;
  }
  // "{}" stands for the folder.
  void mounts(std::string text) const {
    for (auto at = text.find("{}"); at != std::string::npos; at = text.find("{}")) {
      text.replace(at, 2, x_folder.string());
    }
    write("mountinfo", text);
  }
  [[nodiscard]] std::string path() const { return x_folder; }

private:
  fs::path x_folder;
};

TEST_CASE("the memory limit is the smallest of the group's and those above it, v2") {
  const Told told;
  told.mounts("30 29 0:26 / {}/cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  told.write("cgroup", "0::/kube/pod/weir\n");
  told.write("cg/kube/pod/weir/memory.max", "max\n");
  CHECK_FALSE(memory_limit(told.path()));
  told.write("cg/kube/pod/weir/memory.max", "536870912\n");
  CHECK(memory_limit(told.path()) == 536870912);
  told.write("cg/kube/memory.max", "1000\n");
  CHECK(memory_limit(told.path()) == 1000);
}

TEST_CASE("the memory limit of v1 is found beside an unused v2, and by a container's own view") {
  const Told told;
  told.mounts("30 29 0:26 / {}/unified rw - cgroup2 cgroup2 rw\n"
              "31 29 0:27 /docker/abc {}/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n");
  told.write("cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n");
  told.write("memory/memory.limit_in_bytes", "268435456\n");
  CHECK(memory_limit(told.path()) == 268435456);
}

TEST_CASE("without control groups there is no limit, and memory is never short") {
  CHECK_FALSE(memory_limit("/nonexistent"));
  MemoryGuard guard(std::nullopt);
  CHECK_FALSE(guard.is_short());
}

TEST_CASE("memory is short when the heap holds more than three quarters of the limit") {
  MemoryGuard small(1);
  MemoryGuard large(std::size_t{1} << 40);
  const std::string some(100'000, 'x');
  CHECK_FALSE(large.is_short());
#ifndef __SANITIZE_ADDRESS__ // its heap tells nothing
#ifndef __SANITIZE_THREAD__
  CHECK(small.is_short());
#endif
#endif
}

} // namespace
