// The process's own log (what weir does; what pods do is the access log). A thin front over
// spdlog, so that its headers stay out of everybody's: one line a call, text to stderr.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace weir::log {

enum class Level : int { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning", "error"; false on anything else. Any thread.
bool set_level(std::string_view name);
[[nodiscard]] bool enabled(Level level);
[[nodiscard]] std::string_view level_name();

void write(Level level, std::string_view line);

template <typename... Args>
void at(Level level, fmt::format_string<Args...> text, Args&&... args) {
  if (enabled(level)) {
    write(level, fmt::format(text, std::forward<Args>(args)...));
  }
}
template <typename... Args>
void debug(fmt::format_string<Args...> text, Args&&... args) {
  at(Level::kDebug, text, std::forward<Args>(args)...);
}
template <typename... Args>
void info(fmt::format_string<Args...> text, Args&&... args) {
  at(Level::kInfo, text, std::forward<Args>(args)...);
}
template <typename... Args>
void warning(fmt::format_string<Args...> text, Args&&... args) {
  at(Level::kWarning, text, std::forward<Args>(args)...);
}
template <typename... Args>
void error(fmt::format_string<Args...> text, Args&&... args) {
  at(Level::kError, text, std::forward<Args>(args)...);
}

} // namespace weir::log
