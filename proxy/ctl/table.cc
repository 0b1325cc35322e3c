#include "proxy/ctl/table.h"

#include "proxy/base/check.h"

#include <algorithm>

namespace weir::ctl {
namespace {

// Characters as far as columns go: bytes that begin a UTF-8 sequence.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

} // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool c1 =
        byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if (byte == '\t') {
      out.push_back(' ');
    } else if (byte < 0x20 || byte == 0x7f || c1) {
      out.push_back('?');
      at += c1 ? 1 : 0;
    } else {
      out.push_back(text[at]);
    }
  }
  return out;
}

Table::Table(std::vector<std::string> headers) { x_rows.push_back(std::move(headers)); }

void Table::add(std::vector<std::string> cells) {
  WEIR_CHECK(cells.size() == x_rows.front().size());
  for (auto& cell : cells) {
    cell = cell.empty() ? "<none>" : printable(cell);
  }
  x_rows.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths(x_rows.front().size());
  for (const auto& row : x_rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width(row[i]));
    }
  }
  std::string text;
  for (const auto& row : x_rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) {
        text.append(widths[i] - width(row[i]) + 3, ' ');
      }
    }
    text.push_back('\n');
  }
  return text;
}

} // namespace weir::ctl
