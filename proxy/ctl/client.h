// Asks a running weir-proxy through its admin address. Synchronous, bounded in time.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"

#include <boost/json/value.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace weir::ctl {

// The body of GET `path`. An answer other than 200 is an error with the server's words.
[[nodiscard]] Result<std::string> get_text(const SocketAddress& admin, std::string_view path);
[[nodiscard]] Result<boost::json::value> get_json(const SocketAddress& admin,
                                                  std::string_view path);
// The lines of GET `path` as they come, without their ends, until the callback says false (then
// this is no error) or the server ends. Only the beginning is bounded in time.
[[nodiscard]] Result<void> follow_lines(const SocketAddress& admin, std::string_view path,
                                        const std::function<bool(std::string_view)>& take);

} // namespace weir::ctl
