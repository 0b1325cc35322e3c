#include "policy-compiler/compile.h"
#include "policy-compiler/parse/yaml_reader.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace weir::policy;

namespace {

std::string first_error(const std::string& text) {
  for (const YamlDocument& document : read_yaml("f.yaml", text)) {
    if (!document.diagnostics.empty()) {
      return document.diagnostics.front().text();
    }
  }
  return {};
}

} // namespace

TEST_CASE("positions are those of the text") {
  const auto documents = read_yaml("f.yaml", "# c\na:\n  - b: x\n");
  REQUIRE(documents.size() == 1);
  REQUIRE(documents[0].root->entries.size() == 1);
  CHECK(documents[0].root->entries[0].line == 2);
  const YamlNode& item = *documents[0].root->entries[0].value->items.at(0);
  CHECK(item.line == 3);
  CHECK(item.column == 5);
  CHECK(item.entries[0].value->column == 8);
}

TEST_CASE("several documents, empty ones left out") {
  CHECK(read_yaml("f.yaml", "---\na: 1\n---\n# nothing\n---\nb: 2\n").size() == 2);
  CHECK(read_yaml("f.yaml", "").empty());
  CHECK(read_yaml("f.yaml", "---\n...\n").empty());
}

TEST_CASE("what is not YAML is told with its place, and documents before it are kept") {
  const auto documents = read_yaml("f.yaml", "a: 1\n---\nb: [1,\n");
  REQUIRE(documents.size() == 2);
  CHECK(documents[0].root != nullptr);
  CHECK(documents[1].root == nullptr);
  CHECK(documents[1].diagnostics.front().code == "yaml-syntax");
  CHECK(documents[1].diagnostics.front().location.line >= 3);
}

TEST_CASE("a broken document takes no other one of its file down") {
  const auto documents =
      read_yaml("f.yaml", "a: 1\n---\nb: \"x\n--- # the next one\nc: {d: 1\n---\ne: 5\ne: 6\n");
  REQUIRE(documents.size() == 4);
  CHECK(documents[0].root != nullptr);
  CHECK(documents[1].root == nullptr);
  CHECK(documents[2].root == nullptr);
  REQUIRE(documents[3].root != nullptr);
  CHECK(documents[1].diagnostics.at(0).location.line <= 4);
  CHECK(documents[3].root->line == 7);
  CHECK(documents[3].diagnostics.at(0).location.line == 8);
}

TEST_CASE("a line of dashes inside a text that is indented or longer starts no document") {
  const auto documents = read_yaml("f.yaml", "%YAML 1.1\n---\na: |\n  ---\n  x\nb: 1\n----: 2\n");
  REQUIRE(documents.size() == 1);
  REQUIRE(documents[0].root != nullptr);
  CHECK(documents[0].root->entries.size() == 3);
  CHECK(documents[0].root->entries[2].line == 7);
}

TEST_CASE("there is an end to the number of documents") {
  std::string text;
  for (std::size_t i = 0; i <= kMaxDocuments; ++i) {
    text += "---\na: 1\n";
  }
  CHECK(first_error(text).find("documents in one file") != std::string::npos);
}

TEST_CASE("a token that begins nothing is an error, and the reader comes to an end") {
  for (const char* text : {",: &x [2]\n", "a: 1\n---\n, b\n", "---\n]\n", "}\n", ",\n"}) {
    INFO(text);
    CHECK_FALSE(first_error(text).empty());
  }
}

TEST_CASE("a quote that is not closed is an error, wherever the text ends") {
  for (const char* text : {"a: \"x", "a: \"x\n", "a: 'x\n\n", "a: &b \"x \n", "- \"\n", "\"a\n"}) {
    CHECK(first_error(text).find("quotes that does not end") != std::string::npos);
  }
  CHECK(first_error("a: \"x\"").empty());
  CHECK(first_error("a: 'it''s'\n...\n").empty());
}

TEST_CASE("duplicate keys, merge keys and strange tags are refused") {
  CHECK(first_error("a: 1\nb: 2\na: 3\n") ==
        "f.yaml:3:1: error: duplicate key `a`, keep one of them");
  CHECK(first_error("x: &x {a: 1}\ny:\n  <<: *x\n").find("merge keys") != std::string::npos);
  CHECK(first_error("a: !!binary aGk=\n").find("tag") != std::string::npos);
  CHECK(first_error("? {a: b}\n: c\n").find("key must be a text") != std::string::npos);
}

TEST_CASE("plain scalars stand for what YAML 1.1 says") {
  const auto of = [](const std::string& text) {
    const auto documents = read_yaml("f.yaml", "a: " + text + "\n");
    return std::string(documents.at(0).root->entries.at(0).value->description());
  };
  for (const char* text : {"80", "-1", "0x50", "0b11", "1_000", "1e3", ".5", "3.", ".inf", "010"}) {
    CHECK(of(text) == "a number");
  }
  for (const char* text : {"yes", "No", "on", "OFF", "true", "y"}) {
    CHECK(of(text) == "a boolean");
  }
  for (const char* text :
       {"\"80\"", "'yes'", "1.2.3", "e3", "10.0.0.0/8", "0x", "!!str 80", "-", "."}) {
    if (std::string(text) != "-") {
      CHECK(of(text) == "a text");
    }
  }
  CHECK(of("null") == "nothing");
  CHECK(of("~") == "nothing");
}

TEST_CASE("an alias counts as often as it is used, so a bomb is refused and not expanded") {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) {
      bomb += "," + before;
    }
    bomb += "]\n";
  }
  CHECK(first_error(bomb).find("more than") != std::string::npos);
  const auto shared = read_yaml("f.yaml", "a: &x [1, 2]\nb: *x\n");
  CHECK(shared.at(0).root->entries.at(1).value->items.size() == 2);
}

TEST_CASE("deep nesting and endless lines are refused or read in bounded time") {
  CHECK_FALSE(first_error(std::string(100'000, '[')).empty());
  CHECK_FALSE(first_error("a: " + std::string(100'000, '{')).empty());
  std::string deep;
  for (int i = 0; i < 2000; ++i) {
    deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  }
  CHECK_FALSE(first_error(deep).empty());
  CHECK(first_error("a: " + std::string(8u << 20, 'x') + "\n").empty());
  CHECK(first_error("a: " + std::string(11u << 20, 'x')).find("10 MiB") != std::string::npos);
}

TEST_CASE("a NUL byte and bytes that are no UTF-8 do no harm") {
  CHECK(first_error(std::string("a: b\0c\n", 7)).find("NUL") != std::string::npos);
  (void)first_error("a: \xff\xfe\x80\n");
  (void)first_error("\xef\xbb\xbf"
                    "a: 1\n");
}
