#include "policy-compiler/runtime/near_request.h"
#include "test/unit/policy-compiler/fixture.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir::policy;
using weir::policy::test::Fixture;

namespace {

std::string near(const std::string& rules, const HttpRequest& request) {
  Fixture f;
  f.policy("api", "{endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: "
                  "[{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: "
                  "TCP}], rules: {http: " +
                      rules + "}}]}]}")
      .compile();
  const FlowDecision flow = f.ingress(Fixture::kClient, 80);
  REQUIRE_FALSE(judge_http(flow, request).allowed);
  return near_request(flow, request);
}

} // namespace

TEST_CASE("the nearest rule is told with what it allows and what it asks for") {
  CHECK(near("[{method: GET, path: /a}, {method: POST, path: /b}]", {"POST", "/x", "web", {}}) ==
        "method `POST` is allowed by shop/api ingress rule 1, path `/x` is not (it asks for `/b`)");
  CHECK(near("[{method: GET, path: \"/a/.*\"}]", {"PUT", "/x", "web", {}}) ==
        "in shop/api ingress rule 1 method `PUT` is not (it asks for `GET`)");
  CHECK(near("[{method: \"GET|HEAD\", path: \"/a/[0-9]+\", host: h}]", {"GET", "/a/1", "g", {}}) ==
        "method `GET` and path `/a/1` are allowed by shop/api ingress rule 1, host `g` is not (it "
        "asks for `h`)");
}

TEST_CASE("what a header has to hold is not told, and nothing is told at length") {
  const std::vector<HttpHeader> fields{{"X-Token", "guess"}};
  const std::string text =
      near("[{headerMatches: [{name: X-Token, value: hunter2}]}]", {"GET", "/", "web", fields});
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.ends_with("header `X-Token` is not what it asks for"));
  CHECK(near("[{headers: [X-Token]}]", {"GET", "/", "web", {}})
            .ends_with("header `X-Token` is missing"));
  const std::string long_path = "/" + std::string(9000, 'x');
  CHECK(near("[{path: /a}]", {"GET", long_path, "web", {}}).size() < 500);
}
