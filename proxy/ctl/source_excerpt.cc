#include "proxy/ctl/source_excerpt.h"

#include "proxy/ctl/table.h"

#include <algorithm>

namespace weir::ctl {
namespace {

constexpr std::size_t kMaxWidth = 160;

std::string_view line_of(std::string_view source, int line) {
  for (int skipped = 1; skipped < line; ++skipped) {
    const auto end = source.find('\n');
    if (end == std::string_view::npos) {
      return {};
    }
    source.remove_prefix(end + 1);
  }
  source = source.substr(0, source.find('\n'));
  return source.ends_with('\r') ? source.substr(0, source.size() - 1) : source;
}

} // namespace

std::string source_excerpt(std::string_view source, int line, int column) {
  if (line < 1) {
    return {};
  }
  const std::string_view text = line_of(source, line);
  if (text.empty()) {
    return {};
  }
  std::string number = std::to_string(line);
  number.insert(0, number.size() < 5 ? 5 - number.size() : 0, ' ');
  std::string excerpt = number + " | " + printable(text.substr(0, kMaxWidth)) + "\n";
  const auto before = static_cast<std::size_t>(std::max(column - 1, 0));
  if (column >= 1 && before <= std::min(text.size(), kMaxWidth)) {
    // Continuation bytes of UTF-8 take no column of their own.
    const auto shown = text.substr(0, before);
    const auto columns = std::count_if(shown.begin(), shown.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    });
    excerpt += std::string(number.size(), ' ') + " | " +
               std::string(static_cast<std::size_t>(columns), ' ') + "^\n";
  }
  return excerpt;
}

} // namespace weir::ctl
