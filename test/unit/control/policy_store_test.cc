#include "proxy/control/policy_store.h"

#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>

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

} // namespace
