#include "proxy/base/file.h"

#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace {

using namespace weir;

TEST_CASE("a file is replaced as a whole and read as a whole") {
  const test::TempFolder folder;
  const std::string path = folder.file("state");
  REQUIRE(replace_file(path, "one").has_value());
  const std::string big(300'000, 'x');
  REQUIRE(replace_file(path, big).has_value());
  const auto content = read_file(path);
  REQUIRE(content.has_value());
  CHECK(*content == big);
  CHECK_FALSE(std::filesystem::exists(path + ".tmp"));
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600); // what pods looked up is nobody else's business
}

TEST_CASE("a file over the limit, a folder and a missing file are errors") {
  const test::TempFolder folder;
  const std::string path = folder.file("big");
  std::ofstream(path) << std::string(100, 'x');
  CHECK(read_file(path, 100).has_value());
  CHECK(read_file(path, 99).error().code == std::errc::file_too_large);
  CHECK(read_file(folder.file("")).error().code == std::errc::is_a_directory);
  CHECK(read_file(folder.file("none")).error().code == std::errc::no_such_file_or_directory);
}

TEST_CASE("a replacement that fails leaves the old file and nothing beside it") {
  const test::TempFolder folder;
  const std::string path = folder.file("taken");
  std::filesystem::create_directories(path + "/inside"); // cannot be renamed over
  CHECK(replace_file(path, "x").has_error());
  CHECK(std::filesystem::exists(path + "/inside"));
  CHECK_FALSE(std::filesystem::exists(path + ".tmp"));
  CHECK(replace_file(folder.file("no/such/folder"), "x").has_error());
}

TEST_CASE("a file that is set aside is kept under another name") {
  const test::TempFolder folder;
  const std::string path = folder.file("state");
  REQUIRE(replace_file(path, "broken").has_value());
  set_aside(path);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(*read_file(path + ".corrupt") == "broken");
}

} // namespace
