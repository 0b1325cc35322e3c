#include "policy-compiler/runtime/regex.h"

namespace weir::policy {

re2::RE2::Options regex_options() {
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(kMaxRegexMemory);
  options.set_never_capture(true);
  return options;
}

RegexCheck check_regex(const std::string& text) {
  if (text.size() > kMaxRegexBytes) {
    return {RegexCheck::Status::kTooLarge, "longer than 4096 bytes"};
  }
  if (is_literal_regex(text)) {
    return {};
  }
  const re2::RE2 regex(text, regex_options());
  if (regex.ok()) {
    return {};
  }
  return {regex.error_code() == re2::RE2::ErrorPatternTooLarge ? RegexCheck::Status::kTooLarge
                                                               : RegexCheck::Status::kInvalid,
          regex.error()};
}

std::unique_ptr<re2::RE2> compile_regex(const std::string& text) {
  if (text.size() > kMaxRegexBytes) {
    return nullptr;
  }
  auto regex = std::make_unique<re2::RE2>(text, regex_options());
  return regex->ok() ? std::move(regex) : nullptr;
}

bool is_literal_regex(std::string_view text) {
  constexpr std::string_view kSpecial = "\\.+*?()|[]{}^$";
  for (const char c : text) {
    // Bytes beyond ASCII are left to RE2, which reads them as UTF-8.
    if (static_cast<unsigned char>(c) >= 0x80 || kSpecial.find(c) != std::string_view::npos) {
      return false;
    }
  }
  return true;
}

} // namespace weir::policy
