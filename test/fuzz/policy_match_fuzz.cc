// The matchers of names and HTTP fields against RE2 asked directly: literals, prefixes and sets are
// short cuts, and must say what the expression says. The input is lines: patterns, then, after an
// empty line, values.
#include "policy-compiler/runtime/http_matcher.h"
#include "policy-compiler/runtime/name_match.h"
#include "policy-compiler/runtime/regex.h"
#include "proxy/base/check.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using namespace weir::policy;

namespace {

constexpr std::size_t kMaxLines = 12;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty() && out.size() < kMaxLines) {
    const auto end = text.find('\n');
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

bool regex_matches(const re2::RE2* regex, const std::string& value) {
  return regex != nullptr && re2::RE2::FullMatch(value, *regex);
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void check_http(const std::vector<std::string>& patterns, const std::vector<std::string>& values) {
  std::vector<HttpMatcher> matchers;
  std::vector<std::unique_ptr<re2::RE2>> regexes;
  for (const std::string& pattern : patterns) {
    HttpMatcher matcher;
    matcher.path = FieldMatcher::compile(pattern);
    matchers.push_back(std::move(matcher));
    regexes.push_back(compile_regex(pattern));
  }
  const HttpMatcherList list(std::move(matchers));
  for (const std::string& value : values) {
    bool any = false;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const bool expected = patterns[i].empty() || regex_matches(regexes[i].get(), value);
      const bool matches = FieldMatcher::compile(patterns[i]).matches(value);
      // Bytes beyond ASCII are in no canonical value; there a prefix may be narrower.
      WEIR_CHECK(is_ascii(value) ? matches == expected : expected || !matches);
      any = any || expected;
    }
    const auto found = list.find({"GET", value, "host", {}});
    WEIR_CHECK(is_ascii(value) ? found.has_value() == any : any || !found.has_value());
    if (found) {
      WEIR_CHECK(patterns[*found].empty() || regex_matches(regexes[*found].get(), value));
    }
  }
}

bool is_pattern_text(const std::string& text) {
  return !text.empty() && text.front() != '.' && text.back() != '.' &&
         text.find("..") == std::string::npos &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (std::isalnum(c) != 0 && c < 0x80) || c == '-' || c == '_' || c == '.' ||
                  c == '*';
         });
}

std::string lowered(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// As POLICY-LANGUAGE says it: the pattern as an expression over the name's text.
std::string expression_of(const std::string& pattern) {
  if (pattern.find_first_not_of('*') == std::string::npos) {
    return "[-a-z0-9_.]+";
  }
  std::string out;
  std::string rest = lowered(pattern);
  if (const auto stars = rest.find_first_not_of('*'); stars >= 2 && rest[stars] == '.') {
    out = "([-a-z0-9_]+[.])+";
    rest = rest.substr(stars + 1);
  }
  for (const char c : rest) {
    out += c == '*' ? "[-a-z0-9_]*" : c == '.' ? "[.]" : std::string(1, c);
  }
  return out;
}

void check_names(const std::vector<std::string>& patterns, const std::vector<std::string>& values) {
  for (const std::string& pattern : patterns) {
    const NameMatcher matcher = NameMatcher::pattern(pattern);
    for (const std::string& value : values) {
      const auto name = DnsName::from_text(value);
      const bool of_name = name && matcher.matches(*name);
      const bool of_server = matcher.matches_server_name(value);
      // An oracle there is for what both sides can be written as plain text.
      if (!is_pattern_text(pattern) || !is_pattern_text(value) || !name ||
          value.find('*') != std::string::npos || pattern.size() > 200) {
        continue;
      }
      const bool expected = re2::RE2::FullMatch(lowered(value), expression_of(pattern));
      WEIR_CHECK(of_name == expected);
      WEIR_CHECK(of_server == expected);
    }
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data),
                              std::min<std::size_t>(size, 2048));
  const auto split = text.find("\n\n");
  if (split == std::string_view::npos) {
    return 0;
  }
  const auto patterns = lines_of(text.substr(0, split));
  const auto values = lines_of(text.substr(split + 2));
  check_http(patterns, values);
  check_names(patterns, values);
  return 0;
}
