// What each path of the admin server answers. Knows nothing of sockets: a parsed request comes in,
// a reply goes out. Admin thread.
#pragma once

#include "proxy/admin/follower.h"
#include "proxy/admin/model.h"
#include "proxy/config/config.h"

#include <boost/beast/http/verb.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weir::admin {

// Which of the two sockets a request came by.
enum class Face : std::uint8_t {
  kAdmin,   // everything; loopback
  kMetrics, // reading metrics and health only; may be reached by others
};

struct Request {
  boost::beast::http::verb method = boost::beast::http::verb::unknown;
  std::string_view target;    // "/logging?level=debug"
  std::string_view host;      // the Host field; empty when absent
  bool from_web_page = false; // has an Origin field
};

struct Reply {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string_view allow; // methods, with 405
  std::string body;
  std::optional<FlowQuery> follow; // in place of the body: flows, as they come
};

struct RouteContext {
  const config::Config& config;
  Source& source;
  std::chrono::system_clock::time_point started_at;
};

[[nodiscard]] Reply answer(const RouteContext& context, Face face, const Request& request);

// Whether a Host field can only have been meant for this machine: an address literal or localhost,
// with or without a port. A name could have been pointed here by a stranger's DNS (rebinding).
[[nodiscard]] bool is_local_host(std::string_view host);

} // namespace weir::admin
