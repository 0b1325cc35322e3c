#include "proxy/control/policy_store.h"

#include "policy-compiler/model/policy.h"
#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace {

using weir::control::PolicyStore;
using weir::test::TempFolder;

std::string policy(const std::string& name, const std::string& field = "endpointSelector") {
  return "apiVersion: cilium.io/v2\n"
         "kind: CiliumNetworkPolicy\n"
         "metadata: {name: " +
         name +
         ", namespace: shop}\n"
         "spec:\n"
         "  " +
         field +
         ": {}\n"
         "  ingress: [{}]\n";
}

std::string status_of(const PolicyStore& store, const std::string& name) {
  const auto rows = store.rows();
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return found == rows.end() ? "" : found->status;
}

TEST_CASE("every policy file of the folder is in force") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  folder.write("b.yml", policy("b") + "---\n" + policy("c"));
  folder.write("notes.txt", "not a policy");
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 3);
  CHECK(status_of(store, "c") == "accepted");
  CHECK(store.rejected() == 0);
}

TEST_CASE("a mount that is exchanged while it is read is read as a whole, the old or the new") {
  namespace fs = std::filesystem;
  const TempFolder folder;
  const fs::path root = folder.path();
  // As kubelet does it: a new folder, the link exchanged, the old folder removed.
  unsigned generation = 0;
  const auto publish = [&] {
    const std::string fresh = "..generation_" + std::to_string(++generation);
    fs::create_directory(root / fresh);
    for (const std::string name : {"a", "b", "c", "d", "e"}) {
      std::ofstream(root / fresh / (name + ".yaml"))
          << policy(name + "-" + std::to_string(generation % 2));
    }
    fs::create_directory_symlink(fresh, root / "..data_tmp");
    fs::rename(root / "..data_tmp", root / "..data");
    fs::remove_all(root / ("..generation_" + std::to_string(generation - 1)));
  };
  publish();
  for (const std::string name : {"a", "b", "c", "d", "e"}) {
    fs::create_symlink("..data/" + name + ".yaml", root / (name + ".yaml"));
  }
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  std::atomic<bool> running{true};
  std::thread exchanging([&] {
    while (running) {
      publish();
    }
  });
  unsigned loads = 0, mixed = 0, lost = 0;
  for (int i = 0; i < 1000; ++i) {
    loads += store.load().has_value() ? 1 : 0; // else what was in force stays
    const auto policies = store.policies();
    lost += policies.size() == 5 ? 0 : 1;
    for (const auto& one : policies) {
      mixed += one->name.back() == policies.front()->name.back() ? 0 : 1;
    }
  }
  running = false;
  exchanging.join();
  CHECK(loads > 0);
  CHECK(mixed == 0);
  CHECK(lost == 0);
}

TEST_CASE("a file that breaks leaves its last good version in force and is shown as rejected") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  folder.write("b.yaml", policy("b"));
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  folder.write("a.yaml", policy("a", "endpointSelektor"));
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 2);
  CHECK(status_of(store, "a") == "rejected");
  CHECK(status_of(store, "b") == "accepted");
  const auto rows = store.rows();
  CHECK(rows.front().message.find("a.yaml:5:") != std::string::npos);
  folder.write("a.yaml", policy("a"));
  REQUIRE(store.load().has_value());
  CHECK(status_of(store, "a") == "accepted");
}

TEST_CASE("a policy of nodes is shown as rejected, with the reason, and disturbs no other") {
  const TempFolder folder;
  const std::string head = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n"
                           "metadata: {name: ";
  const std::string nodes = "{nodeSelector: {matchLabels: {a: b}}, ingress: [{}]}";
  folder.write("a.yaml", policy("a") + "---\n" + head + "nodes}\nspec: " + nodes + "\n---\n" +
                             head + "both}\nspecs: [" + nodes +
                             ", {endpointSelector: {}, ingress: [{}]}]\n");
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  CHECK(status_of(store, "a") == "accepted");
  CHECK(status_of(store, "nodes") == "rejected");
  CHECK(status_of(store, "both") == "accepted"); // in part, which the message says
  for (const auto& row : store.rows()) {
    CHECK((row.message.find("policies of nodes are not enforced") != std::string::npos) ==
          (row.name != "a"));
  }
}

TEST_CASE("one bad document keeps the whole new version of its file out") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  folder.write("a.yaml", policy("a2") + "---\n" + policy("p", "nonsense"));
  REQUIRE(store.load().has_value());
  REQUIRE(store.policies().size() == 1);
  CHECK(status_of(store, "a") == "accepted");
  CHECK(status_of(store, "a2") == "rejected");
}

TEST_CASE("a folder that is missing or empty never means no policies") {
  const TempFolder folder;
  PolicyStore store(folder.file("missing"));
  CHECK_FALSE(store.load().has_value());
  CHECK_FALSE(store.loaded());
  PolicyStore emptied(folder.path());
  CHECK_FALSE(emptied.load().has_value());
  folder.write("a.yaml", policy("a"));
  REQUIRE(emptied.load().has_value());
  std::filesystem::remove(folder.file("a.yaml"));
  CHECK_FALSE(emptied.load().has_value());
  CHECK(emptied.policies().size() == 1);
}

TEST_CASE("a removed file takes its policies with it as long as others are there") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  folder.write("b.yaml", policy("b"));
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  std::filesystem::remove(folder.file("a.yaml"));
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 1);
  CHECK(status_of(store, "a").empty());
}

TEST_CASE(
    "the file that brings a policy a second time is refused, the first keeps all of its own") {
  const TempFolder folder;
  folder.write("b.yaml", policy("p") + "---\n" + policy("q"));
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  folder.write("a.yaml", policy("q"));
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 2);
  CHECK(store.rejected() == 1);
  CHECK(store.rows().front().message.find("b.yaml") != std::string::npos);
}

TEST_CASE("a policy may move from one file to another in one swap") {
  const TempFolder folder;
  folder.write("a.yaml", policy("p") + "---\n" + policy("q"));
  folder.write("b.yaml", policy("r"));
  PolicyStore store(folder.path());
  REQUIRE(store.load().has_value());
  folder.write("a.yaml", policy("p"));
  folder.write("b.yaml", policy("q") + "---\n" + policy("r"));
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 3);
  CHECK(store.rejected() == 0);
}

TEST_CASE("the last good set survives a restart, also when the files are broken by then") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  PolicyStore before(folder.path());
  REQUIRE(before.load().has_value());
  folder.write("a.yaml", "kind: [");
  PolicyStore after(folder.path());
  REQUIRE(after.restore(before.serialize()).has_value());
  CHECK(after.loaded());
  REQUIRE(after.load().has_value());
  CHECK(after.policies().size() == 1);
  CHECK(after.rejected() == 1);
  CHECK_FALSE(after.restore("{").has_value());
}

TEST_CASE("objects of the API stand beside files, each for itself, and the folder may be empty") {
  const TempFolder folder;
  PolicyStore store(folder.file("not-mounted"));
  CHECK_FALSE(store.load().has_value());
  store.use_objects({});
  REQUIRE(store.load().has_value()); // no policies: the API has said so
  CHECK(store.loaded());
  CHECK(store.policies().empty());

  store.use_objects(
      {{"CiliumNetworkPolicy/shop/a", policy("a")}, {"CiliumNetworkPolicy/shop/b", policy("b")}});
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 2);
  // A new version with a mistake: the last good one stays, also over a restart.
  store.use_objects({{"CiliumNetworkPolicy/shop/a", policy("a", "endpointSelect")},
                     {"CiliumNetworkPolicy/shop/b", policy("b")}});
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 2);
  CHECK(status_of(store, "a") == "rejected");
  PolicyStore after(folder.file("not-mounted"));
  REQUIRE(after.restore(store.serialize()).has_value());
  CHECK(after.policies().size() == 2);
  // What the API does not list any more is gone.
  after.use_objects({{"CiliumNetworkPolicy/shop/b", policy("b")}});
  REQUIRE(after.load().has_value());
  CHECK(after.policies().size() == 1);
}

TEST_CASE("a folder that vanishes keeps its files in force, also beside the API") {
  const TempFolder folder;
  const std::string path = folder.file("policies");
  std::filesystem::create_directory(path);
  std::ofstream(path + "/a.yaml") << policy("a");
  PolicyStore store(path);
  store.use_objects({});
  REQUIRE(store.load().has_value());
  std::filesystem::remove_all(path);
  CHECK_FALSE(store.load().has_value());
  CHECK(store.policies().size() == 1);
}

TEST_CASE("the same policy as a file and as an object: the one that came later is refused") {
  const TempFolder folder;
  folder.write("a.yaml", policy("a"));
  PolicyStore store(folder.path());
  store.use_objects({});
  REQUIRE(store.load().has_value());
  store.use_objects({{"CiliumNetworkPolicy/shop/a", policy("a")}});
  REQUIRE(store.load().has_value());
  CHECK(store.policies().size() == 1);
  CHECK(store.rejected() == 1);
}

} // namespace
