#include "proxy/config/yaml_fields.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using namespace weir;
using namespace weir::config;

std::string text_of(const YamlErrors& errors) {
  std::string lines;
  for (const auto& error : errors) {
    lines += error.text() + "\n";
  }
  return lines;
}

TEST_CASE("lists, mappings of names and mappings of texts are read") {
  YamlDocument document("e.yaml", "endpoints:\n"
                                  "  - name: web\n"
                                  "    labels: {app: web, tier: \"1\", empty: \"\"}\n"
                                  "    ips: [10.0.1.11, \"fd00:10:1::11\"]\n"
                                  "namespaces:\n"
                                  "  shop: {labels: {team: blue}}\n"
                                  "  other: {}\n");
  YamlFields root = document.root();
  auto endpoints = root.mappings("endpoints");
  REQUIRE(endpoints.size() == 1);
  CHECK(endpoints[0].required<std::string>("name") == "web");
  CHECK(endpoints[0].texts("labels") ==
        std::map<std::string, std::string>{{"app", "web"}, {"empty", ""}, {"tier", "1"}});
  CHECK(endpoints[0].list<IpAddress>("ips") ==
        std::vector{*IpAddress::parse("10.0.1.11"), *IpAddress::parse("fd00:10:1::11")});
  CHECK(endpoints[0].optional<std::string>("interface", "none") == "none");
  endpoints[0].finish();
  auto namespaces = root.named("namespaces");
  REQUIRE(namespaces.size() == 2);
  CHECK(namespaces[0].first == "shop");
  CHECK(namespaces[0].second.texts("labels").at("team") == "blue");
  CHECK(namespaces[1].first == "other");
  CHECK(namespaces[1].second.texts("labels").empty());
  root.finish();
  CHECK(text_of(document.errors()).empty());
}

TEST_CASE("an absent mapping, list or value is its default, and no error") {
  YamlDocument document("e.yaml", "");
  YamlFields root = document.root();
  YamlFields nested = root.mapping("a");
  CHECK(nested.find<bool>("b") == std::nullopt);
  CHECK_FALSE(nested.has("b"));
  CHECK(root.mappings("c").empty());
  CHECK(root.list<std::string>("d").empty());
  CHECK(root.named("e").empty());
  nested.finish();
  root.finish();
  CHECK(document.errors().empty());
}

TEST_CASE("a wrong item of a list is reported, the right ones are kept") {
  YamlDocument document("e.yaml", "ips: [10.0.0.1, 10.0.0.256, [], ~]\n");
  YamlFields root = document.root();
  CHECK(root.list<IpAddress>("ips") == std::vector{*IpAddress::parse("10.0.0.1")});
  root.finish();
  CHECK(text_of(document.errors()) ==
        "e.yaml:1:17: error: `ips[1]` must be an IPv4 or IPv6 address\n"
        "e.yaml:1:29: error: `ips[2]` must be an IPv4 or IPv6 address\n"
        "e.yaml:1:33: error: `ips[3]` must be an IPv4 or IPv6 address\n");
}

TEST_CASE("labels must be texts, so that true and 1 cannot mean two things") {
  YamlDocument document("e.yaml", "labels: {a: true, b: 1, c: 1.5, d: \"true\", e: v1, f: Yes}\n");
  YamlFields root = document.root();
  CHECK(root.texts("labels") == std::map<std::string, std::string>{{"d", "true"}, {"e", "v1"}});
  root.finish();
  CHECK(text_of(document.errors()) ==
        "e.yaml:1:13: error: `labels.a` must be a text, put it in quotes: \"true\"\n"
        "e.yaml:1:22: error: `labels.b` must be a text, put it in quotes: \"1\"\n"
        "e.yaml:1:28: error: `labels.c` must be a text, put it in quotes: \"1.5\"\n"
        "e.yaml:1:54: error: `labels.f` must be a text, put it in quotes: \"Yes\"\n");
}

TEST_CASE("a key that is no text is refused") {
  YamlDocument document("e.yaml", "? [a]\n: 1\n");
  document.root().finish();
  CHECK(text_of(document.errors()) == "e.yaml:1:3: error: a key must be a text\n");
}

TEST_CASE("a caller's own errors stand at the key, or at the mapping where it is absent") {
  YamlDocument document("e.yaml", "a:\n  b: 1\n");
  YamlFields root = document.root();
  YamlFields a = root.mapping("a");
  CHECK(a.find<std::uint16_t>("b") == 1);
  a.error("b", "too few");
  a.error("c", a.path_of("c") + " is needed", "add it");
  CHECK(text_of(document.errors()) == "e.yaml:2:3: error: a.c is needed, add it\n"
                                      "e.yaml:2:6: error: too few\n");
}

TEST_CASE("an anchor that contains itself is walked no deeper than the keys asked for") {
  YamlDocument document("e.yaml", "a: &a {b: *a}\n");
  YamlFields root = document.root();
  root.mapping("a").mapping("b").finish();
  CHECK(text_of(document.errors()) == "e.yaml:1:8: error: unknown key `a.b.b`\n");
}

TEST_CASE("the nearest word is found, and none where nothing is near") {
  const std::string_view words[] = {"address", "upstream", "port", "peer"};
  CHECK(nearest_word("adress", words) == "address");
  CHECK(nearest_word("ADDRESS", words) == "address");
  CHECK(nearest_word("prot", words) == "port");
  CHECK(nearest_word("upstraem", words) == "upstream");
  CHECK(nearest_word("colour", words).empty());
  CHECK(nearest_word("", words).empty());
}

} // namespace
