#include "proxy/control/folder_watch.h"

#include "test/support/temp_folder.h"

#include <boost/asio/post.hpp>
#include <catch2/catch_test_macros.hpp>

#include <filesystem>

namespace {

namespace fs = std::filesystem;
using weir::control::FolderWatch;
using weir::test::TempFolder;

// Runs the loop until the watch calls back; false when the bound is reached without.
bool changed_after(const std::string& folder, const std::function<void()>& change) {
  boost::asio::io_context context;
  bool called = false;
  FolderWatch watch(context, folder, [&] {
    called = true;
    context.stop();
  });
  boost::asio::post(context, change);
  context.run_for(std::chrono::seconds(10));
  return called;
}

TEST_CASE("a written, renamed or removed file is noticed") {
  const TempFolder folder;
  folder.write("a.yaml", "1");
  CHECK(changed_after(folder.path(), [&] { folder.write("a.yaml", "2"); }));
  CHECK(changed_after(folder.path(),
                      [&] { fs::rename(folder.file("a.yaml"), folder.file("b.yaml")); }));
  CHECK(changed_after(folder.path(), [&] { fs::remove(folder.file("b.yaml")); }));
}

TEST_CASE("the swap of a mounted ConfigMap's ..data link is noticed") {
  const TempFolder folder;
  fs::create_directory(folder.file("..v1"));
  fs::create_directory(folder.file("..v2"));
  fs::create_directory_symlink("..v1", folder.file("..data"));
  CHECK(changed_after(folder.path(), [&] {
    fs::create_directory_symlink("..v2", folder.file("..data_tmp"));
    fs::rename(folder.file("..data_tmp"), folder.file("..data"));
  }));
}

TEST_CASE("a folder that appears later is noticed, and a change in it too") {
  const TempFolder parent;
  const std::string late = parent.file("late");
  CHECK(changed_after(late, [&] { fs::create_directory(late); }));
  CHECK(changed_after(late, [&] { parent.write("late/a.yaml", "1"); }));
}

} // namespace
