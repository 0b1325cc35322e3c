#include "proxy/ctl/listing.h"

#include "proxy/ctl/client.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>

namespace weir::ctl {
namespace {

// A cell is one line; what more there is can be had with -o json.
std::string first_line(const std::string& text) {
  const auto end = text.find('\n');
  return end == std::string::npos ? text : text.substr(0, end) + " …";
}

} // namespace

void show_list(Session& session, std::string_view path, std::string_view what,
               const std::vector<Column>& columns) {
  const auto rows = get_json(session.admin, path);
  if (!rows) {
    fail(session, rows.error());
    return;
  }
  const auto* array = rows->if_array();
  if (array == nullptr) {
    fail(session, invalid_error(std::string(path) + " is no list; is that weir-proxy?"));
    return;
  }
  show_rows(session, *array, what, columns);
}

void show_rows(Session& session, const boost::json::array& rows, std::string_view what,
               const std::vector<Column>& columns) {
  if (session.json) {
    print_json(rows);
    return;
  }
  if (rows.empty()) {
    print("No " + std::string(what) + " found.\n");
    return;
  }
  std::vector<std::string> headers;
  for (const auto& column : columns) {
    headers.push_back(column.header);
  }
  Table table(std::move(headers));
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const auto& column : columns) {
      cells.push_back(first_line(cell(row, column.key)));
    }
    table.add(std::move(cells));
  }
  print(table.text());
}

} // namespace weir::ctl
