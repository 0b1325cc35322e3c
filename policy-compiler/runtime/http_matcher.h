// One list of HTTP rules, compiled: a request passes when one of them accepts it. Paths that are
// literals or literal prefixes are found by look-up, true expressions by one RE2::Set for all, so
// that a verdict's cost does not grow with the number of rules.
//
// Immutable; any thread. Matching does not allocate once a thread has matched an expression.
#pragma once

#include "policy-compiler/runtime/http_request.h"

#include <re2/re2.h>
#include <re2/set.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::policy {

// A whole-value match of one field, in its cheapest form.
class FieldMatcher {
public:
  enum class Kind : std::uint8_t { kAny, kLiterals, kPrefix, kRegex, kNever };

  // RE2 text; empty: any value. Text that does not compile matches never.
  static FieldMatcher compile(const std::string& regex);

  [[nodiscard]] bool matches(std::string_view value) const;
  [[nodiscard]] Kind kind() const { return x_kind; }
  [[nodiscard]] const std::vector<std::string>& texts() const { return x_texts; }
  [[nodiscard]] const re2::RE2* regex() const { return x_regex.get(); }
  // What it asks for, as a rule would say it.
  [[nodiscard]] std::string text() const;

private:
  Kind x_kind = Kind::kAny;
  std::vector<std::string> x_texts; // literals, or the one prefix
  std::unique_ptr<re2::RE2> x_regex;
};

struct HeaderMatcher {
  std::string name;
  std::optional<std::string> value; // absent: has to be there
  bool never = false;               // asks for what weir cannot know
  bool secret = false;              // the value is not to be shown

  [[nodiscard]] bool matches(std::span<const HttpHeader> headers) const;
};

// What becomes of a request that a rule accepts although a header is not as it wants it.
struct HeaderAction {
  enum class Kind : std::uint8_t {
    kLog,     // it is told
    kAdd,     // the header is added with the value wanted
    kDelete,  // it is taken out
    kReplace, // both
  };
  Kind kind = Kind::kLog;
  HeaderMatcher wanted;
};

struct HeaderActions {
  std::vector<HeaderAction> list;
};

struct HttpMatcher {
  FieldMatcher method, path, host;
  std::vector<HeaderMatcher> headers; // all of them
  HeaderActions actions;

  // How many of the fields match, in the order method, path, host, headers; and the first that
  // does not ("method", "path", …; empty when all do).
  struct Fit {
    unsigned matched = 0;
    std::string_view failed;
    const HttpMatcher* rule = nullptr; // whose fit it is
  };
  [[nodiscard]] Fit fit(const HttpRequest& request) const;
  // All but the path.
  [[nodiscard]] bool accepts_rest(const HttpRequest& request) const;
};

class HttpMatcherList {
public:
  explicit HttpMatcherList(std::vector<HttpMatcher> matchers);

  // Index of a matcher that accepts the request.
  [[nodiscard]] std::optional<std::size_t> find(const HttpRequest& request) const;
  [[nodiscard]] const HttpMatcher& at(std::size_t index) const { return x_matchers[index]; }
  // The best fit among the first few rules: for the reason of a denial, not for verdicts.
  [[nodiscard]] HttpMatcher::Fit nearest(const HttpRequest& request) const;

private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Indices = std::vector<std::uint32_t>;
  struct Prefix {
    std::string text;
    Indices matchers;
    int parent = -1; // the longest other prefix that this one begins with
  };

  void index_prefixes(std::unordered_map<std::string, Indices> by_text);
  void index_regexes(Indices regexes);
  [[nodiscard]] std::optional<std::size_t> first_accepting(const Indices& indices,
                                                           const HttpRequest& request) const;
  [[nodiscard]] std::optional<std::size_t> find_prefix(const HttpRequest& request) const;
  [[nodiscard]] std::optional<std::size_t> find_regex(const HttpRequest& request) const;

  std::vector<HttpMatcher> x_matchers;
  Indices x_any_path;
  std::unordered_map<std::string, Indices, TextHash, std::equal_to<>> x_literals;
  std::vector<Prefix> x_prefixes; // sorted by text
  Indices x_regexes;
  std::unique_ptr<re2::RE2::Set> x_regex_set; // over x_regexes, when they are more than a few
};

} // namespace weir::policy
