#include "policy-compiler/runtime/http_matcher.h"

#include "policy-compiler/runtime/regex.h"

#include <algorithm>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kFewRegexes = 3;       // so many are tried one by one
constexpr std::int64_t kSetMemory = 8 << 20; // for one list's set and its caches
constexpr std::size_t kNearestOf = 64;       // rules looked at for the reason of a denial

// The text that an expression stands for, when it is nothing but characters, escaped where
// needed. Anchors at the ends say what a full match means anyhow.
std::optional<std::string> literal_text(std::string_view regex) {
  std::string out;
  for (std::size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    if (c == '\\') {
      if (++i == regex.size() || std::ispunct(static_cast<unsigned char>(regex[i])) == 0) {
        return std::nullopt;
      }
      out += regex[i];
    } else if (is_literal_regex({&c, 1})) {
      out += c;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

bool ends_escaped(std::string_view text) {
  std::size_t slashes = 0;
  while (slashes < text.size() && text[text.size() - 1 - slashes] == '\\') {
    ++slashes;
  }
  return slashes % 2 == 1;
}

std::optional<std::vector<std::string>> alternatives(std::string_view regex) {
  std::vector<std::string> out;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= regex.size(); ++i) {
    if (i < regex.size() && regex[i] == '\\') {
      if (++i == regex.size()) {
        return std::nullopt; // escapes nothing: no expression at all
      }
      continue;
    }
    if (i >= regex.size() || regex[i] == '|') {
      auto text = literal_text(regex.substr(start, std::min(i, regex.size()) - start));
      if (!text) {
        return std::nullopt;
      }
      out.push_back(std::move(*text));
      start = i + 1;
    }
  }
  return out;
}

bool equal_without_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

// What `.*` matches: no newline, and of bytes beyond ASCII only those that are UTF-8. No canonical
// value has either; kept as narrow as the expression all the same.
bool begins_plainly_with(std::string_view value, std::string_view prefix) {
  return value.starts_with(prefix) &&
         std::all_of(value.begin() + static_cast<long>(prefix.size()), value.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '\n'; });
}

} // namespace

FieldMatcher FieldMatcher::compile(const std::string& regex) {
  FieldMatcher out;
  if (regex.empty()) {
    return out;
  }
  std::string_view text = regex;
  // "^" and "$" bind tighter than "|", so they are dropped only where there is no choice.
  if (text.find('|') == std::string_view::npos) {
    if (text.starts_with('^')) {
      text.remove_prefix(1);
    }
    if (text.ends_with('$') && !ends_escaped(text.substr(0, text.size() - 1))) {
      text.remove_suffix(1);
    }
  }
  if (auto literals = alternatives(text)) {
    out.x_kind = Kind::kLiterals;
    out.x_texts = std::move(*literals);
    return out;
  }
  if (text.ends_with(".*") && !ends_escaped(text.substr(0, text.size() - 2))) {
    if (auto prefix = literal_text(text.substr(0, text.size() - 2))) {
      out.x_kind = Kind::kPrefix;
      out.x_texts = {std::move(*prefix)};
      return out;
    }
  }
  out.x_regex = compile_regex(regex);
  out.x_kind = out.x_regex ? Kind::kRegex : Kind::kNever;
  return out;
}

bool FieldMatcher::matches(std::string_view value) const {
  switch (x_kind) {
  case Kind::kAny:
    return true;
  case Kind::kLiterals:
    return std::find(x_texts.begin(), x_texts.end(), value) != x_texts.end();
  case Kind::kPrefix:
    return begins_plainly_with(value, x_texts.front());
  case Kind::kRegex:
    return re2::RE2::FullMatch({value.data(), value.size()}, *x_regex);
  case Kind::kNever:
    return false;
  }
  return false;
}

std::string FieldMatcher::text() const {
  std::string out;
  switch (x_kind) {
  case Kind::kAny:
    return ".*";
  case Kind::kLiterals:
    for (const std::string& text : x_texts) {
      out.append(out.empty() ? "" : "|").append(text);
    }
    return out;
  case Kind::kPrefix:
    return x_texts.front() + ".*";
  case Kind::kRegex:
    return x_regex->pattern();
  case Kind::kNever:
    return "nothing";
  }
  return out;
}

// Repeated headers count as one, their values joined with ",".
bool HeaderMatcher::matches(std::span<const HttpHeader> headers) const {
  if (never) {
    return false;
  }
  // Every byte is compared, whether those before it fit or not: the time it takes tells nothing of
  // a value that is a secret.
  bool present = false;
  std::size_t at = 0;
  unsigned differs = 0;
  const auto compare = [&](char byte) {
    differs |= at < value->size() ? static_cast<unsigned char>(byte ^ (*value)[at]) : 1u;
    ++at;
  };
  for (const HttpHeader& header : headers) {
    if (!equal_without_case(header.name, name)) {
      continue;
    }
    if (!value) {
      return true;
    }
    if (present) {
      compare(',');
    }
    std::for_each(header.value.begin(), header.value.end(), compare);
    present = true;
  }
  return present && differs == 0 && at == value->size();
}

bool HttpMatcher::accepts_rest(const HttpRequest& request) const {
  return method.matches(request.method) && host.matches(request.host) &&
         std::all_of(headers.begin(), headers.end(),
                     [&](const HeaderMatcher& header) { return header.matches(request.headers); });
}

HttpMatcher::Fit HttpMatcher::fit(const HttpRequest& request) const {
  Fit out;
  out.rule = this;
  const auto count = [&](bool matches, std::string_view name) {
    if (matches) {
      ++out.matched;
    } else if (out.failed.empty()) {
      out.failed = name;
    }
  };
  count(method.matches(request.method), "method");
  count(path.matches(request.path), "path");
  count(host.matches(request.host), "host");
  count(std::all_of(headers.begin(), headers.end(),
                    [&](const HeaderMatcher& header) { return header.matches(request.headers); }),
        "header");
  return out;
}

HttpMatcherList::HttpMatcherList(std::vector<HttpMatcher> matchers)
    : x_matchers(std::move(matchers)) {
  std::unordered_map<std::string, Indices> prefixes;
  Indices regexes;
  for (std::uint32_t i = 0; i < x_matchers.size(); ++i) {
    const FieldMatcher& path = x_matchers[i].path;
    switch (path.kind()) {
    case FieldMatcher::Kind::kAny:
      x_any_path.push_back(i);
      break;
    case FieldMatcher::Kind::kLiterals:
      for (const std::string& text : path.texts()) {
        x_literals[text].push_back(i);
      }
      break;
    case FieldMatcher::Kind::kPrefix:
      prefixes[path.texts().front()].push_back(i);
      break;
    case FieldMatcher::Kind::kRegex:
      regexes.push_back(i);
      break;
    case FieldMatcher::Kind::kNever:
      break;
    }
  }
  index_prefixes(std::move(prefixes));
  index_regexes(std::move(regexes));
}

void HttpMatcherList::index_prefixes(std::unordered_map<std::string, Indices> by_text) {
  for (auto& [text, indices] : by_text) {
    x_prefixes.push_back({text, std::move(indices), -1});
  }
  std::sort(x_prefixes.begin(), x_prefixes.end(),
            [](const Prefix& a, const Prefix& b) { return a.text < b.text; });
  for (std::size_t i = 1; i < x_prefixes.size(); ++i) {
    // Whatever this one begins with also begins its predecessor, or is it.
    int parent = static_cast<int>(i) - 1;
    while (parent >= 0 && !x_prefixes[i].text.starts_with(x_prefixes[parent].text)) {
      parent = x_prefixes[parent].parent;
    }
    x_prefixes[i].parent = parent;
  }
}

void HttpMatcherList::index_regexes(Indices regexes) {
  x_regexes = std::move(regexes);
  if (x_regexes.size() <= kFewRegexes) {
    return;
  }
  re2::RE2::Options options = regex_options();
  options.set_max_mem(kSetMemory);
  auto set = std::make_unique<re2::RE2::Set>(options, re2::RE2::ANCHOR_BOTH);
  for (const std::uint32_t index : x_regexes) {
    if (set->Add(x_matchers[index].path.regex()->pattern(), nullptr) < 0) {
      return; // tried one by one instead
    }
  }
  if (set->Compile()) {
    x_regex_set = std::move(set);
  }
}

std::optional<std::size_t> HttpMatcherList::first_accepting(const Indices& indices,
                                                            const HttpRequest& request) const {
  for (const std::uint32_t index : indices) {
    if (x_matchers[index].accepts_rest(request)) {
      return index;
    }
  }
  return std::nullopt;
}

// The longest prefix in the list that begins the path is the greatest entry not above the path,
// or one of that entry's parents: all that lies between a prefix and the path begins with it.
std::optional<std::size_t> HttpMatcherList::find_prefix(const HttpRequest& request) const {
  const auto above = std::upper_bound(
      x_prefixes.begin(), x_prefixes.end(), request.path,
      [](std::string_view path, const Prefix& prefix) { return path < prefix.text; });
  for (int at = static_cast<int>(above - x_prefixes.begin()) - 1; at >= 0;
       at = x_prefixes[at].parent) {
    if (!begins_plainly_with(request.path, x_prefixes[at].text)) {
      continue;
    }
    if (const auto found = first_accepting(x_prefixes[at].matchers, request)) {
      return found;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> HttpMatcherList::find_regex(const HttpRequest& request) const {
  const re2::StringPiece path(request.path.data(), request.path.size());
  if (x_regex_set != nullptr) {
    thread_local std::vector<int> matched;
    re2::RE2::Set::ErrorInfo error{re2::RE2::Set::kNoError};
    if (x_regex_set->Match(path, &matched, &error)) {
      for (const int at : matched) {
        if (x_matchers[x_regexes[at]].accepts_rest(request)) {
          return x_regexes[at];
        }
      }
      return std::nullopt;
    }
    if (error.kind == re2::RE2::Set::kNoError) {
      return std::nullopt;
    }
  }
  for (const std::uint32_t index : x_regexes) {
    if (re2::RE2::FullMatch(path, *x_matchers[index].path.regex()) &&
        x_matchers[index].accepts_rest(request)) {
      return index;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> HttpMatcherList::find(const HttpRequest& request) const {
  if (const auto literal = x_literals.find(request.path); literal != x_literals.end()) {
    if (const auto found = first_accepting(literal->second, request)) {
      return found;
    }
  }
  if (const auto found = first_accepting(x_any_path, request)) {
    return found;
  }
  if (const auto found = find_prefix(request)) {
    return found;
  }
  return find_regex(request);
}

HttpMatcher::Fit HttpMatcherList::nearest(const HttpRequest& request) const {
  HttpMatcher::Fit best{0, "path", nullptr};
  const std::size_t count = std::min(x_matchers.size(), kNearestOf);
  for (std::size_t i = 0; i < count; ++i) {
    const HttpMatcher::Fit fit = x_matchers[i].fit(request);
    if (i == 0 || fit.matched > best.matched) {
      best = fit;
    }
  }
  return best;
}

} // namespace weir::policy
