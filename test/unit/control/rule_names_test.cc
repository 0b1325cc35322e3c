#include "proxy/control/rule_names.h"

#include "test/support/temp_folder.h"
#include "test/unit/policy-compiler/fixture.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace {

namespace json = boost::json;
using weir::control::RuleNames;
using weir::test::TempFolder;

// Of one policy with this name, which opens everything.
std::shared_ptr<const weir::policy::Program> program_of(const std::string& name) {
  weir::policy::test::Fixture f;
  return f.policy(name, "{endpointSelector: {}, ingress: [{}]}").compile().result.program;
}

bool is_named(const json::value& state, const std::string& name) {
  for (const json::value& rule : state.at("rules").as_array()) {
    if (rule.at("name") == json::value(name)) {
      return rule.at("number").to_number<std::uint32_t>() != 0;
    }
  }
  return false;
}

TEST_CASE("what rules are called is on disk at the end, by those that were in force last") {
  const TempFolder folder;
  const std::string path = folder.file("rules.json");
  boost::asio::io_context context;
  folder.write("rules.json", "of an earlier process");
  RuleNames names(context, path);
  names.forget();
  CHECK_FALSE(std::filesystem::exists(path));

  names.keep(program_of("first"), 7, 1);
  names.keep(program_of("second"), 7, 2); // while the first is being written, or after it
  names.keep(program_of("third"), 7, 2);  // says that nothing has changed
  names.stop();
  std::ifstream file(path);
  const json::value state = json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  CHECK(state.at("first_revision") == 7);
  CHECK(is_named(state, "shop/second ingress rule 1"));
  CHECK_FALSE(is_named(state, "shop/first ingress rule 1"));
  CHECK_FALSE(is_named(state, "shop/third ingress rule 1"));
}

} // namespace
