// What people are told of the mistakes that they really make: each file in diagnostics/ is one, and
// beside it stands the exact text. After a change that is meant, WEIR_UPDATE_GOLDEN=1 writes the
// texts anew; read them before they are committed.
#include "policy-compiler/compile.h"
#include "policy-compiler/lint/lint.h"
#include "proxy/base/file.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace {

using namespace weir::policy;

const std::filesystem::path kFolder = std::filesystem::path(WEIR_POLICY_CASES) / "diagnostics";

// All that `weirctl policy lint` has to say, a line each, the code behind it.
std::string told(const std::filesystem::path& path) {
  LintInput input;
  Diagnostics all;
  for (const ParsedDocument& document :
       parse_policies(path.filename().string(), weir::read_file(path.string()).value())) {
    all.insert(all.end(), document.diagnostics.begin(), document.diagnostics.end());
    if (document.policy) {
      input.policies.push_back(document.policy);
    }
  }
  const Diagnostics found = lint(input);
  all.insert(all.end(), found.begin(), found.end());
  std::string out;
  for (const Diagnostic& one : all) {
    out += one.text() + " [" + one.code + "]\n";
  }
  return out;
}

} // namespace

TEST_CASE("mistakes that users make are told as they should be", "[policy]") {
  std::size_t mistakes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".yaml") {
      continue;
    }
    ++mistakes;
    auto expected = entry.path();
    expected.replace_extension(".txt");
    const std::string text = told(entry.path());
    if (std::getenv("WEIR_UPDATE_GOLDEN") != nullptr) {
      std::ofstream(expected) << text;
    }
    INFO(entry.path().filename().string());
    CHECK(text == weir::read_file(expected.string()).value());
  }
  CHECK(mistakes >= 60);
}
