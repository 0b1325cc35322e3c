#include "proxy/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>

namespace weir::log {
namespace {

struct Name {
  std::string_view text;
  spdlog::level::level_enum level;
};
constexpr std::array<Name, 4> kNames = {{{"debug", spdlog::level::debug},
                                         {"info", spdlog::level::info},
                                         {"warning", spdlog::level::warn},
                                         {"error", spdlog::level::err}}};

spdlog::logger& logger() {
  static const auto kLogger = [] {
    auto made = spdlog::stderr_logger_mt("weir");
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *kLogger;
}

} // namespace

bool set_level(std::string_view name) {
  for (const auto& known : kNames) {
    if (known.text == name) {
      logger().set_level(known.level);
      return true;
    }
  }
  return false;
}

bool enabled(Level level) {
  return logger().should_log(kNames.at(static_cast<std::size_t>(level)).level);
}

std::string_view level_name() {
  for (const auto& known : kNames) {
    if (known.level == logger().level()) {
      return known.text;
    }
  }
  return "info";
}

void write(Level level, std::string_view line) {
  logger().log(kNames.at(static_cast<std::size_t>(level)).level,
               spdlog::string_view_t(line.data(), line.size()));
}

} // namespace weir::log
