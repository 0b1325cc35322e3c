// The reference's answers: every worked case and every public manifest, through the code that pods
// are judged by.
#include "policy-compiler/compile.h"
#include "policy-compiler/eval/policy_case.h"
#include "proxy/base/file.h"

#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

namespace {

namespace json = boost::json;
using namespace weir::policy;

const std::filesystem::path kFolder = WEIR_POLICY_CASES;

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Lines of an expected.jsonl against what parse_policies says of the files.
void check_documents(const std::filesystem::path& folder, const std::filesystem::path& expected) {
  std::map<std::string, std::vector<ParsedDocument>> parsed;
  std::ifstream in(expected);
  std::size_t lines = 0;
  for (std::string line; std::getline(in, line);) {
    ++lines;
    const json::object row = json::parse(line).as_object();
    const std::string file(row.at("file").as_string());
    if (!parsed.contains(file)) {
      parsed[file] = parse_policies(file, weir::read_file((folder / file).string()).value());
    }
    const auto number = static_cast<std::size_t>(row.at("doc").as_int64());
    INFO(file << " document " << number);
    REQUIRE(number < parsed[file].size());
    const ParsedDocument& document = parsed[file][number];
    std::string said;
    for (const Diagnostic& diagnostic : document.diagnostics) {
      said += diagnostic.text() + '\n';
    }
    INFO(said);
    CHECK(document.kind == std::string(row.at("kind").as_string()));
    if (row.contains("skipped")) { // no policy kind: never silently taken for "no policy"
      CHECK((document.policy != nullptr || !document.diagnostics.empty()));
      continue;
    }
    CHECK(document.name == std::string(row.at("name").as_string()));
    if (row.contains("strict")) {
      continue;
    }
    const bool valid = row.at("valid").as_bool();
    // Accepted by the reference only because it drops the field.
    const bool dropped =
        valid && row.contains("error") && row.at("error").as_string().starts_with("unknown field");
    // Where weir reads less on purpose: octal and grouped numbers, ranges beyond 65535.
    static const std::vector<std::string> kStricter = {"port-octal", "port-underscore",
                                                       "port-endport-big", "port-endport-neg"};
    const bool stricter =
        std::find(kStricter.begin(), kStricter.end(), document.name) != kStricter.end();
    if (stricter) {
      CHECK(document.policy == nullptr);
    } else if (!dropped) {
      CHECK((document.policy != nullptr) == valid);
    }
  }
  CHECK(lines > 0);
}

} // namespace

TEST_CASE("every worked case has the reference's verdicts", "[policy]") {
  std::size_t cases = 0;
  for (const auto& path : files_in(kFolder / "cases" / "eval")) {
    INFO(path.filename().string());
    const json::value policy_case = json::parse(weir::read_file(path.string()).value());
    const auto answers = answer_case(policy_case);
    REQUIRE(answers.has_value());
    for (const std::string& difference : compare_answers(policy_case, *answers)) {
      FAIL_CHECK(difference);
    }
    ++cases;
  }
  CHECK(cases > 80);
}

TEST_CASE("a verdict that is not the expected one is told", "[policy]") {
  const auto path = files_in(kFolder / "cases" / "eval").front();
  json::value policy_case = json::parse(weir::read_file(path.string()).value());
  const auto answers = answer_case(policy_case);
  REQUIRE(answers.has_value());
  json::object& flow = policy_case.at("expected").at("flows").at(0).as_object();
  flow["verdict"] = flow["verdict"] == "deny" ? "allow" : "deny";
  policy_case.at("expected").at("policies").at(0).as_object()["valid"] = false;
  const auto differences = compare_answers(policy_case, *answers);
  REQUIRE(differences.size() == 2);
  CHECK(differences[0].starts_with("policy "));
  CHECK(differences[1].starts_with("flow 0 ("));
  CHECK_FALSE(answer_case(json::value("no case")).has_value());
}

TEST_CASE("every document is accepted or refused as the reference does", "[policy]") {
  check_documents(kFolder / "cases" / "validate",
                  kFolder / "cases" / "validate" / "validate.expected.jsonl");
}

TEST_CASE("public manifests load as they are", "[policy]") {
  check_documents(kFolder / "manifests", kFolder / "manifests" / "expected.jsonl");
}
