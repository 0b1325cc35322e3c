// Those who follow the flows: one JSON object a line, as the flows come. Each reads the log at its
// own pace from its own connection: who is too slow misses rows and is told how many
// ({"missed": n}), who does not read at all is disconnected.
//
// Admin thread, except that the log calls from its writer's.
#pragma once

#include "proxy/admin/flow_log.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include <atomic>
#include <cstddef>
#include <list>
#include <string_view>

namespace weir::admin {

struct FlowQuery {
  std::size_t last = 0; // so many rows of the past come first
  FlowFilter filter;
};

inline constexpr std::string_view kJsonLinesType = "application/x-ndjson";

class FlowFollowers {
public:
  // Of all connections the admin socket takes, so that others are left.
  static constexpr std::size_t kMost = 16;

  // Both outlive it. Nothing is served any more when it is destroyed.
  FlowFollowers(boost::asio::io_context& context, FlowLog& log);
  ~FlowFollowers();
  FlowFollowers(const FlowFollowers&) = delete;
  FlowFollowers& operator=(const FlowFollowers&) = delete;

  [[nodiscard]] bool full() const { return x_count >= kMost; }
  // Head and lines, until the client goes away, says anything more or does not read. `version`: 11
  // for HTTP/1.1, which has chunks; to others the end of the connection is the end. The stream
  // outlives the coroutine.
  boost::asio::awaitable<void> serve(boost::beast::tcp_stream& stream, unsigned version,
                                     FlowQuery query);

private:
  // Until there may be something new. False: the client is gone.
  boost::asio::awaitable<bool> wait(boost::beast::tcp_stream& stream);
  void wake();

  boost::asio::io_context& x_context;
  FlowLog& x_log;
  std::atomic<std::size_t> x_count{0};
  std::atomic<bool> x_waking{false}; // a turn of the loop that wakes all is on its way
  std::list<boost::asio::steady_timer*> x_waiting;
};

} // namespace weir::admin
