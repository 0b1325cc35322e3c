// The one place that says how policy text becomes an RE2 program, so that what was checked when
// the file was read is what is matched by later. Bounded: a program that does not fit is refused,
// and its rule fails alone.
#pragma once

#include <re2/re2.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace weir::policy {

inline constexpr std::size_t kMaxRegexBytes = 4096;      // of the text
inline constexpr std::int64_t kMaxRegexMemory = 1 << 20; // of the program and its caches

struct RegexCheck {
  enum class Status { kGood, kInvalid, kTooLarge };
  Status status = Status::kGood;
  std::string message; // RE2's own
};

[[nodiscard]] RegexCheck check_regex(const std::string& text);
[[nodiscard]] re2::RE2::Options regex_options();
// Null when it does not compile.
[[nodiscard]] std::unique_ptr<re2::RE2> compile_regex(const std::string& text);

// Does the text contain nothing that a regular expression reads as more than itself?
[[nodiscard]] bool is_literal_regex(std::string_view text);

} // namespace weir::policy
