// A list of the admin server as a table, or as it came (-o json). Shared by the commands that show
// one.
#pragma once

#include "proxy/ctl/command.h"

#include <boost/json/array.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace weir::ctl {

struct Column {
  std::string header;
  std::string_view key;
};

// Prints the array that `path` answers; `what` names its items where there are none.
void show_list(Session& session, std::string_view path, std::string_view what,
               const std::vector<Column>& columns);

// Prints these rows.
void show_rows(Session& session, const boost::json::array& rows, std::string_view what,
               const std::vector<Column>& columns);

} // namespace weir::ctl
