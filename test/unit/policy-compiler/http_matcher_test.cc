#include "policy-compiler/runtime/http_matcher.h"

#include <catch2/catch_test_macros.hpp>
#include <re2/re2.h>

#include <algorithm>
#include <random>

using namespace weir::policy;

namespace {

FieldMatcher::Kind kind_of(const char* regex) { return FieldMatcher::compile(regex).kind(); }

HttpMatcher rule(const std::string& method, const std::string& path, const std::string& host = {}) {
  HttpMatcher out;
  out.method = FieldMatcher::compile(method);
  out.path = FieldMatcher::compile(path);
  out.host = FieldMatcher::compile(host);
  return out;
}

} // namespace

TEST_CASE("literals and literal prefixes need no regular expression") {
  using Kind = FieldMatcher::Kind;
  CHECK(kind_of("") == Kind::kAny);
  CHECK(kind_of("GET") == Kind::kLiterals);
  CHECK(kind_of("GET|HEAD") == Kind::kLiterals);
  CHECK(kind_of("^/health$") == Kind::kLiterals);
  CHECK(kind_of("www\\.example\\.com") == Kind::kLiterals);
  CHECK(kind_of("/public/.*") == Kind::kPrefix);
  CHECK(kind_of(".*") == Kind::kPrefix);
  CHECK(kind_of("/a\\.*") == Kind::kRegex); // dots, any number
  CHECK(kind_of("/a.c") == Kind::kRegex);
  CHECK(kind_of("^/a|/b$") == Kind::kRegex);
  CHECK(kind_of("/\\d+") == Kind::kRegex);
  CHECK(kind_of("(") == Kind::kNever);
  CHECK(kind_of("\\") == Kind::kNever);
  CHECK(kind_of("/a|/b\\") == Kind::kNever); // no expression, so /a is none of its matches
}

TEST_CASE("H14: a path's rule ends where its text does, not at a longer segment") {
  for (const auto& [rule, path] : {std::pair{"/public", "/publicadmin"},
                                   {"/public", "/public/"},
                                   {"/public/.*", "/publicadmin"},
                                   {"/public/.*", "/public"},
                                   {"/a|/public", "/publicadmin"},
                                   {"/pub[l]ic/?", "/publicadmin"}}) {
    CAPTURE(rule, path);
    CHECK_FALSE(FieldMatcher::compile(rule).matches(path));
  }
  CHECK(FieldMatcher::compile("/public.*").matches("/publicadmin")); // who writes this means it
}

TEST_CASE("a prefix opens no bytes that its expression would not") {
  const FieldMatcher prefix = FieldMatcher::compile("/a/.*");
  CHECK(prefix.matches("/a/"));
  CHECK(prefix.matches("/a/b?c"));
  CHECK_FALSE(prefix.matches("/a/\n"));
  CHECK_FALSE(prefix.matches("/a/\xf4/b"));
}

TEST_CASE("the cheap forms say what RE2 says") {
  std::mt19937 random(7);
  const std::string_view pieces[] = {"/", "a",    "b", ".",   ".*", "\\.", "\\",
                                     "|", "^",    "$", "\\$", "(",  ")",   "+",
                                     "?", "[ab]", "x", "\\d", "1",  "\\/", "-"};
  const std::string_view characters = "/ab.x1$|\\-\n";
  std::size_t compared = 0;
  for (int i = 0; i < 30000; ++i) {
    std::string regex;
    for (std::size_t n = 1 + random() % 5; n > 0; --n) {
      regex += pieces[random() % std::size(pieces)];
    }
    const re2::RE2 slow(regex, re2::RE2::Quiet);
    if (!slow.ok()) {
      continue;
    }
    const FieldMatcher fast = FieldMatcher::compile(regex);
    for (int j = 0; j < 8; ++j) {
      std::string text;
      for (std::size_t n = random() % 5; n > 0; --n) {
        text += characters[random() % characters.size()];
      }
      INFO("regex " << regex << " text " << text);
      if (fast.matches(text) != re2::RE2::FullMatch(text, slow)) {
        FAIL("they differ");
      }
      ++compared;
    }
  }
  CHECK(compared > 50000);
}

TEST_CASE("a list finds a rule exactly when one of its rules accepts alone") {
  std::mt19937 random(11);
  const std::string paths[] = {"/a",      "/a/b",    "/a/.*",     "/a/b/.*", "/.*",
                               "",        "/[0-9]+", "/x/[a-z]*", "/a/b|/c", "/a/b/c.*",
                               "/[ab]/c", "/ab?c",   "/.+/z",     "/zz.*"};
  const std::string methods[] = {"GET", "POST", "GET|PUT", "", "P.*"};
  const std::string asked[] = {"/a",   "/a/b", "/a/b/c", "/c",     "/7",   "/x/abc", "/x/",
                               "/abc", "/b/c", "/q/z",   "/a/b/z", "/zzz", "/",      ""};
  for (int i = 0; i < 2000; ++i) {
    std::vector<HttpMatcher> alone, list;
    for (std::size_t n = random() % 12; n > 0; --n) {
      const std::string& method = methods[random() % std::size(methods)];
      const std::string& path = paths[random() % std::size(paths)];
      alone.push_back(rule(method, path));
      list.push_back(rule(method, path));
    }
    const HttpMatcherList matchers(std::move(list));
    for (const std::string& path : asked) {
      for (const char* method : {"GET", "POST", "PUT", "DELETE"}) {
        const HttpRequest request{method, path, "host", {}};
        const bool expected = std::any_of(alone.begin(), alone.end(), [&](const HttpMatcher& one) {
          return one.fit(request).failed.empty();
        });
        const auto found = matchers.find(request);
        if (found.has_value() != expected) {
          FAIL(method << ' ' << path << (expected ? " is not found" : " is found"));
        }
        if (found && !alone[*found].fit(request).failed.empty()) {
          FAIL(method << ' ' << path << " is found by a rule that refuses it");
        }
      }
    }
  }
}

TEST_CASE("W11: headers: name without case, value exact, repeated ones joined with commas") {
  const HttpHeader once[] = {{"X-Token", "abc"}, {"other", "1"}};
  const HttpHeader twice[] = {{"x-token", "a"}, {"other", "1"}, {"X-TOKEN", "b"}};
  CHECK(HeaderMatcher{"x-token", "abc", false}.matches(once));
  CHECK_FALSE(HeaderMatcher{"x-token", "ABC", false}.matches(once));
  CHECK_FALSE(HeaderMatcher{"x-token", "ab", false}.matches(once));
  CHECK_FALSE(HeaderMatcher{"x-token", "abcd", false}.matches(once));
  CHECK(HeaderMatcher{"x-token", std::nullopt, false}.matches(once));
  CHECK_FALSE(HeaderMatcher{"x-none", std::nullopt, false}.matches(once));
  CHECK(HeaderMatcher{"x-token", "a,b", false}.matches(twice));
  CHECK_FALSE(HeaderMatcher{"x-token", "a", false}.matches(twice));
  CHECK_FALSE(HeaderMatcher{"x-token", "a,b,", false}.matches(twice));
  CHECK_FALSE(HeaderMatcher{"x-token", "abc", true}.matches(once));
  CHECK_FALSE(HeaderMatcher{"x-token", "", false}.matches({}));
}

TEST_CASE("the nearest rule is the one with most matching fields") {
  std::vector<HttpMatcher> rules;
  rules.push_back(rule("POST", "/x", "a"));
  rules.push_back(rule("GET", "/y", "a"));
  const HttpMatcherList list(std::move(rules));
  CHECK(list.nearest({"GET", "/z", "a", {}}).failed == "path");
  CHECK(list.nearest({"PUT", "/y", "a", {}}).failed == "method");
  CHECK(list.nearest({"GET", "/y", "b", {}}).failed == "host");
}
