#include "proxy/config/pod_pattern.h"

namespace weir::config {
namespace {

constexpr std::string_view kAny = "*";

// A * that is not the whole of it would look like a pattern and match nothing.
bool is_part(std::string_view text) {
  return text == kAny || (!text.empty() && text.find_first_of("*/ ") == std::string_view::npos);
}

} // namespace

std::optional<PodPattern> PodPattern::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || !is_part(text.substr(0, slash)) ||
      !is_part(text.substr(slash + 1))) {
    return std::nullopt;
  }
  PodPattern pattern;
  pattern.x_namespace = text.substr(0, slash);
  pattern.x_name = text.substr(slash + 1);
  return pattern;
}

bool PodPattern::covers(std::string_view pod_namespace, std::string_view name) const {
  return (x_namespace == kAny || x_namespace == pod_namespace) &&
         (x_name == kAny || x_name == name);
}

} // namespace weir::config
