#include "proxy/runtime/memory_guard.h"

#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>

namespace {

using namespace weir::runtime;
namespace fs = std::filesystem;

// A process as /proc tells of it, in a folder.
class Told {
public:
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((x_folder.path() / file).parent_path());
    x_folder.write(file, text);
  }
  // "{}" stands for the folder.
  void mounts(std::string text) const {
    for (auto at = text.find("{}"); at != std::string::npos; at = text.find("{}")) {
      text.replace(at, 2, x_folder.path().string());
    }
    write("mountinfo", text);
  }
  [[nodiscard]] std::string path() const { return x_folder.path(); }

private:
  weir::test::TempFolder x_folder;
};

TEST_CASE("the memory limit is the smallest of the group's and those above it, v2") {
  const Told told;
  told.mounts("30 29 0:26 / {}/cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  told.write("cgroup", "0::/kube/pod/weir\n");
  told.write("cg/kube/pod/weir/memory.max", "max\n");
  CHECK_FALSE(memory_group(told.path()));
  told.write("cg/kube/pod/weir/memory.max", "536870912\n");
  CHECK(memory_group(told.path()).value().limit == 536870912);
  told.write("cg/kube/memory.max", "1000\n");
  const auto group = memory_group(told.path());
  REQUIRE(group);
  CHECK(group->limit == 1000);
  CHECK(group->folder == told.path() + "/cg/kube");
  CHECK(group->v2);
}

TEST_CASE("the memory limit of v1 is found beside an unused v2, and by a container's own view") {
  const Told told;
  told.mounts("30 29 0:26 / {}/unified rw - cgroup2 cgroup2 rw\n"
              "31 29 0:27 /docker/abc {}/memory ro,nosuid master:9 - cgroup cgroup rw,memory\n");
  told.write("cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n");
  told.write("memory/memory.limit_in_bytes", "268435456\n");
  const auto group = memory_group(told.path());
  REQUIRE(group);
  CHECK(group->limit == 268435456);
  CHECK(group->folder == told.path() + "/memory");
  CHECK_FALSE(group->v2);
}

TEST_CASE("without control groups there is no limit, and memory is never short") {
  CHECK_FALSE(memory_group("/nonexistent"));
  MemoryGuard guard(std::nullopt);
  CHECK_FALSE(guard.is_short());
}

TEST_CASE("what the kernel and others are charged counts, page cache and own memory do not") {
  const Told told;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  told.write("statm", "900 30 10 5 0 60 0\n"); // 20 pages without a file behind them
  told.write("v2/memory.current", std::to_string(100 * page));
  told.write("v2/memory.stat", "anon " + std::to_string(20 * page) + "\nfile " +
                                   std::to_string(15 * page) + "\nkernel 5\nshmem " +
                                   std::to_string(5 * page) + "\n");
  CHECK(charged_beside({1, told.path() + "/v2", true}, told.path()) == 70 * page);

  told.write("v1/memory.usage_in_bytes", std::to_string(100 * page));
  told.write("v1/memory.stat",
             "cache 1\nshmem 1\ntotal_cache " + std::to_string(40 * page) + "\ntotal_shmem 0\n");
  CHECK(charged_beside({1, told.path() + "/v1", false}, told.path()) == 40 * page);

  // Figures that do not fit together, or none.
  told.write("v1/memory.usage_in_bytes", "5");
  CHECK(charged_beside({1, told.path() + "/v1", false}, told.path()) == 0);
  CHECK(charged_beside({1, "/nonexistent", false}, "/nonexistent") == 0);
}

TEST_CASE("memory is short when heap and kernel hold more than three quarters of the limit") {
  const Told told;
  told.write("memory.stat", "file 0\nshmem 0\n");
  const auto is_short = [&](std::size_t limit, std::size_t charged) {
    told.write("memory.current", std::to_string(charged));
    return MemoryGuard(MemoryGroup{limit, told.path(), true}).is_short();
  };
  constexpr std::size_t kLarge = std::size_t{1} << 40;
  const std::string some(100'000, 'x');
  CHECK_FALSE(is_short(kLarge, 0));
  CHECK(is_short(kLarge, kLarge)); // no heap of this process is so large
#ifndef __SANITIZE_ADDRESS__       // its heap tells nothing
#ifndef __SANITIZE_THREAD__
  CHECK(is_short(1, 0));
#endif
#endif
}

} // namespace
