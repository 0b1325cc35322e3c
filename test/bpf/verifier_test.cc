// The kernel's verifier takes every program, and they do not grow unseen:
// instructions.txt has how many instructions each has and how many the verifier looked at. More
// than 10 % above that fails. WEIR_RENEW_INSTRUCTIONS=1 writes the file anew.
//
// Counts are of one kernel and one compiler: on another kernel (major.minor) only the loading is
// tested, and the test says so.
#include "redirect-bpf/user/kernel_layout.h"
#include "test/support/kernel.h"
#include "test/support/netns.h"

#include <catch2/catch_test_macros.hpp>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>

namespace weir::test {
namespace {

struct Counts {
  std::uint64_t verified = 0, translated = 0, jited_bytes = 0;
};
using Table = std::map<std::string, Counts>; // "object program"

// Without the kernel's layout the verifier would leave out what reads by it.
void set_layout(bpf_object& object) {
  bpf_map* constants = bpf_object__find_map_by_name(&object, ".rodata");
  if (constants == nullptr) {
    return;
  }
  const auto layout = redirect::kernel_layout();
  REQUIRE(layout.has_value());
  std::size_t size = 0;
  void* values = bpf_map__initial_value(constants, &size);
  REQUIRE(size == sizeof *layout);
  std::memcpy(values, &*layout, size);
}

using ObjectPtr = std::unique_ptr<bpf_object, void (*)(bpf_object*)>;

ObjectPtr open_object(const std::string& path) {
  ObjectPtr object(bpf_object__open_file(path.c_str(), nullptr), &bpf_object__close);
  REQUIRE(object != nullptr);
  return object;
}

void load(const std::string& name, const std::string& path, Table& table) {
  INFO(name);
  const ObjectPtr object = open_object(path);
  set_layout(*object);
  REQUIRE(bpf_object__load(object.get()) == 0);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object.get()) {
    bpf_prog_info info{};
    std::uint32_t length = sizeof(info);
    REQUIRE(bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &length) == 0);
    table[name + " " + bpf_program__name(program)] = {info.verified_insns, info.xlated_prog_len / 8,
                                                      info.jited_prog_len};
  }
}

Table read_table(std::string& of_kernel) {
  Table table;
  std::ifstream file(WEIR_INSTRUCTIONS);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string object, program;
    Counts counts;
    if (line.starts_with("kernel ")) {
      of_kernel = line.substr(7);
    } else if (!line.starts_with('#') && words >> object >> program >> counts.verified >>
                                             counts.translated >> counts.jited_bytes) {
      table[object + " " + program] = counts;
    }
  }
  return table;
}

void write_table(const Table& table) {
  std::ofstream file(WEIR_INSTRUCTIONS, std::ios::trunc);
  file << "# Written by: WEIR_RENEW_INSTRUCTIONS=1 bpf_verifier_test (as root)\n"
          "# object program: instructions that the verifier looked at, instructions, bytes of\n"
          "# machine code (x86-64)\nkernel "
       << kernel_version().text() << "\n";
  for (const auto& [key, counts] : table) {
    file << key << " " << counts.verified << " " << counts.translated << " " << counts.jited_bytes
         << "\n";
  }
}

// That BPF programs may call, of the kernel itself.
bool has_function(const char* name) {
  const std::unique_ptr<btf, void (*)(btf*)> types(btf__load_vmlinux_btf(), &btf__free);
  return types != nullptr && btf__find_by_name_kind(types.get(), name, BTF_KIND_FUNC) > 0;
}

bool has_grown(std::uint64_t now, std::uint64_t before) { return now * 10 > before * 11; }

// Those for tc with no attach type, as they are loaded for links of tcx and filters of clsact
// alike.
TEST_CASE("every program is verified, and has not grown") {
  require_root();
  Table now;
  load("redirect_tc", WEIR_REDIRECT_OBJECT, now);
  if (!has_function("bpf_rcu_read_lock")) {
    WARN("Linux " << kernel_version().text() << " has no way to join sockets: join was not loaded");
    return;
  }
  load("join", WEIR_JOIN_OBJECT, now);
  CHECK(now.size() == 8 + 4);

  if (std::getenv("WEIR_RENEW_INSTRUCTIONS") != nullptr) {
    write_table(now);
    return;
  }
  std::string of_kernel;
  const Table before = read_table(of_kernel);
  REQUIRE_FALSE(before.empty());
  if (of_kernel != kernel_version().text()) {
    WARN("instructions.txt is of Linux " << of_kernel << ", this is " << kernel_version().text()
                                         << ": only the loading was tested");
    return;
  }
  for (const auto& [key, counts] : now) {
    INFO(key << "; if this is meant: WEIR_RENEW_INSTRUCTIONS=1 bpf_verifier_test");
    REQUIRE(before.contains(key));
    const Counts& were = before.at(key);
    INFO("verified " << were.verified << " -> " << counts.verified << ", instructions "
                     << were.translated << " -> " << counts.translated << ", bytes "
                     << were.jited_bytes << " -> " << counts.jited_bytes);
    CHECK_FALSE(has_grown(counts.verified, were.verified));
    CHECK_FALSE(has_grown(counts.translated, were.translated));
#ifdef __x86_64__
    CHECK_FALSE(has_grown(counts.jited_bytes, were.jited_bytes));
#endif
  }
  CHECK(before.size() == now.size()); // none is kept that is no more
}

TEST_CASE("the programs load where they are not told where the kernel has its interfaces") {
  require_root();
  const ObjectPtr object = open_object(WEIR_REDIRECT_OBJECT);
  CHECK(bpf_object__load(object.get()) == 0);
}

TEST_CASE("growth of more than a tenth is found") {
  CHECK_FALSE(has_grown(110, 100));
  CHECK(has_grown(111, 100));
  CHECK_FALSE(has_grown(90, 100));
}

} // namespace
} // namespace weir::test
