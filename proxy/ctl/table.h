// Tables as kubectl prints them: upper-case headers, columns three spaces apart, <none> for what is
// empty. Cells come from policy files and names on the wire: what a terminal would obey is shown as
// `?`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::ctl {

class Table {
public:
  explicit Table(std::vector<std::string> headers);

  // As many cells as headers.
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::string text() const;

private:
  std::vector<std::vector<std::string>> x_rows; // the first: headers
};

// Without control characters; tabs become spaces.
[[nodiscard]] std::string printable(std::string_view text);

} // namespace weir::ctl
