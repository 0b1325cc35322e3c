#include "proxy/http/denial.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace weir;

namespace {
bool prefers(std::vector<http::Header> fields) { return http::prefers_problem(fields); }
} // namespace

TEST_CASE("a problem document is for who names it or prefers it to text") {
  CHECK(prefers({{"Accept", "application/problem+json"}}));
  CHECK(prefers({{"accept", "Application/Problem+JSON;charset=utf-8"}}));
  CHECK(prefers({{"Accept", "application/problem+json, */*;q=0.1"}}));
  CHECK(prefers({{"Accept", "text/html"}, {"Accept", "application/problem+json;q=0.1"}}));
  CHECK(prefers({{"Accept", "application/*"}}));
  CHECK(prefers({{"Accept", "application/*;q=0.5, */*;q=0.1"}}));
  for (const std::string_view accept :
       {"", "*/*", "text/plain", "application/json", "application/problem+json;q=0",
        "application/problem+json;q=0.000", "application/problem+json;q=0.4, text/plain;q=0.5",
        "text/*, application/*;q=0.9", "*/*, application/problem+json;q=0",
        "application/problem+json;q=2", "application/problem+json;q=abc",
        "application/problem+json;q=", "application/problem+jsonx"}) {
    CAPTURE(accept);
    CHECK_FALSE(prefers({{"Accept", accept}}));
  }
  CHECK_FALSE(prefers({}));
}

TEST_CASE("W13: what a denial tells is escaped and bounded") {
  std::string out;
  const std::string long_text(5000, 'x');
  http::write_problem({"shop/a\"pi", "ingress rule 1", "path", "\r\n\x01\xff" + long_text}, out);
  CHECK(out.starts_with("{\"type\":\"urn:weir:denied\",\"title\":\"Access denied\",\"status\":403,"
                        "\"policy\":\"shop/a\\\"pi\""));
  CHECK(out.find("\\u000d\\u000a\\u0001\\u00ff") != std::string::npos);
  CHECK(out.size() < 1500);
  CHECK(out.ends_with("\"}\n"));
  out.clear();
  http::write_problem({"default-deny", "", "policy", ""}, out);
  CHECK(out.find("\"rule\"") == std::string::npos);
  CHECK(out.find("\"detail\":\"no policy allows this\"") != std::string::npos);
}
