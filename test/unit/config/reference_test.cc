// README.md of proxy/config against the code: no key is missing there, none is made up, and no
// default is another one.
#include "proxy/config/config_loader.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <string>

namespace {

using namespace weir::config;

struct Row {
  std::string text; // as it stands in the table
  bool literal;     // in backticks: YAML to be tried
};

std::map<std::string, Row> documented() {
  std::ifstream file(WEIR_CONFIG_README);
  REQUIRE(file.good());
  static const std::regex kRow(R"(\| `([A-Za-z0-9.]+)` \| (`?)([^`|]+)`? \| .+ \|)");
  std::map<std::string, Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kRow)) {
      INFO(line);
      CHECK(rows.emplace(match[1], Row{match[3], match[2] == "`"}).second);
    }
  }
  return rows;
}

TEST_CASE("the configuration reference has every key of the code, and no other") {
  const auto rows = documented();
  std::map<std::string, bool> known;
  for (const auto& [key, value] : key_values(**parse_config("weir.yaml", "").config)) {
    INFO(key);
    CHECK(rows.contains(key));
    known[key] = true;
  }
  for (const auto& [key, row] : rows) {
    INFO(key);
    CHECK(known.contains(key));
  }
}

TEST_CASE("the configuration reference's defaults are the code's") {
  const auto defaults = key_values(**parse_config("weir.yaml", "").config);
  for (const auto& [key, row] : documented()) {
    if (!row.literal) {
      continue; // the machine decides
    }
    const auto dot = key.find('.');
    const std::string value = '"' + row.text + '"', number = row.text;
    const bool quoted = row.text.find_first_of(":/") != std::string::npos;
    const std::string entry =
        key.substr(dot == std::string::npos ? 0 : dot + 1) + ": " + (quoted ? value : number);
    const std::string text =
        dot == std::string::npos ? entry : key.substr(0, dot) + ": {" + entry + "}";
    INFO(text);
    const auto loaded = parse_config("weir.yaml", text + "\n");
    REQUIRE(loaded.config.has_value());
    CHECK(key_values(**loaded.config) == defaults);
  }
}

} // namespace
