#include "policy-compiler/compile.h"
#include "proxy/control/secret_store.h"
#include "test/support/temp_folder.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir {
namespace {

namespace fs = std::filesystem;
using Policies = std::vector<std::shared_ptr<const policy::Policy>>;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// One policy whose rule compares a header with a secret.
Policies policy_with(const std::string& secret) {
  const std::string text =
      "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
      "spec:\n  endpointSelector: {}\n  ingress:\n    - toPorts:\n"
      "        - ports: [{port: \"80\", protocol: TCP}]\n          rules:\n            http:\n"
      "              - headerMatches: [{name: X-Token, secret: " +
      secret + "}]\n";
  Policies policies;
  for (const auto& document : policy::parse_policies("p.yaml", text)) {
    REQUIRE(document.policy != nullptr);
    policies.push_back(document.policy);
  }
  return policies;
}

TEST_CASE("only the secrets that policies name are read, with the policy's own namespace") {
  const test::TempFolder folder;
  write(folder.path() / "shop/token/value", "one");
  write(folder.path() / "shop/other/value", "two");
  control::SecretStore store(folder.path());
  const Policies policies = policy_with("{name: token}");
  store.load(policies);
  CHECK(store.header_values() == std::map<std::string, std::string>{{"shop/token", "one"}});
  CHECK(store.problems_of(*policies.front()).empty());
  CHECK_FALSE(store.changed());
}

TEST_CASE("a policy cannot name a place outside the secrets' folder") {
  const test::TempFolder folder;
  write(folder.path() / "outside/value", "root:x:0");
  write(folder.path() / "secrets/shop/a/value", "one");
  control::SecretStore store(folder.path() / "secrets");
  for (const char* secret : {"{name: ../../outside}", "{namespace: .., name: outside}",
                             "{namespace: \"..\", name: \"..\"}", "{name: a/../../../outside}",
                             "{namespace: \"\", name: \"/etc\"}"}) {
    INFO(secret);
    const Policies policies = policy_with(secret);
    store.load(policies);
    CHECK(store.header_values().empty());
    CHECK(store.secrets()->empty());
    CHECK_FALSE(store.problems_of(*policies.front()).empty());
  }
}

TEST_CASE("a secret for a header has exactly one item; a mount's own files are none") {
  const test::TempFolder folder;
  write(folder.path() / "shop/token/value", "one");
  write(folder.path() / "shop/token/.hidden", "no item");
  control::SecretStore store(folder.path());
  const Policies policies = policy_with("{name: token}");
  store.load(policies);
  CHECK(store.header_values().size() == 1);
  write(folder.path() / "shop/token/second", "two");
  CHECK(store.changed());
  store.load(policies);
  CHECK(store.header_values().empty());
  CHECK(store.problems_of(*policies.front()).find("exactly one item") != std::string::npos);
}

TEST_CASE("a secret that did not change stays the same object; one that did shows in changed()") {
  const test::TempFolder folder;
  write(folder.path() / "shop/token/value", "one");
  control::SecretStore store(folder.path());
  const Policies policies = policy_with("{name: token}");
  store.load(policies);
  const auto before = store.secrets();
  store.load(policies);
  CHECK(store.secrets() == before);
  fs::remove(folder.path() / "shop/token/value");
  write(folder.path() / "shop/token/value", "new");
  CHECK(store.changed());
  store.load(policies);
  CHECK(store.secrets() != before);
  CHECK(store.header_values().at("shop/token") == "new");
  fs::remove_all(folder.path() / "shop");
  CHECK(store.changed());
  store.load(policies);
  CHECK(store.secrets()->empty());
}

} // namespace
} // namespace weir
