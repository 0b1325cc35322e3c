#include "proxy/admin/follower.h"

#include "proxy/admin/views.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/serialize.hpp>

#include <chrono>
#include <string>

namespace weir::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr auto kToken = asio::as_tuple(asio::deferred);
constexpr std::size_t kRowsAtOnce = 256;
constexpr std::chrono::seconds kWriteTime{10};

std::string lines_of(const FlowLog::Read& read) {
  std::string text;
  if (read.missed > 0) {
    text += boost::json::serialize(boost::json::object{{"missed", read.missed}}) + "\n";
  }
  for (const auto& row : read.rows) {
    text += boost::json::serialize(flow_json(*row)) + "\n";
  }
  return text;
}

} // namespace

FlowFollowers::FlowFollowers(asio::io_context& context, FlowLog& log)
    : x_context(context), x_log(log) {
  x_log.on_added([this] {
    if (x_count.load() > 0 && !x_waking.exchange(true)) {
      asio::post(x_context, [this] { wake(); });
    }
  });
}

FlowFollowers::~FlowFollowers() { x_log.on_added({}); }

void FlowFollowers::wake() {
  x_waking.store(false); // before the log is read: what comes later wakes again
  for (asio::steady_timer* timer : x_waiting) {
    timer->cancel();
  }
}

asio::awaitable<bool> FlowFollowers::wait(beast::tcp_stream& stream) {
  asio::steady_timer timer(x_context, asio::steady_timer::time_point::max());
  const auto place = x_waiting.insert(x_waiting.end(), &timer);
  // A follower has nothing more to say, so that being readable is the end.
  const auto [order, woken, gone] =
      co_await asio::experimental::make_parallel_group(
          timer.async_wait(asio::deferred),
          stream.socket().async_wait(asio::socket_base::wait_read, asio::deferred))
          .async_wait(asio::experimental::wait_for_one(), kToken);
  x_waiting.erase(place);
  co_return order[0] == 0;
}

asio::awaitable<void> FlowFollowers::serve(beast::tcp_stream& stream, unsigned version,
                                           FlowQuery query) {
  struct Counted {
    explicit Counted(std::atomic<std::size_t>& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    std::atomic<std::size_t>& count;
  } counted(x_count);

  co_await asio::this_coro::throw_if_cancelled(false);
  FlowLog::Read read = x_log.last(query.last, query.filter);
  std::string text = lines_of(read);

  http::response<http::empty_body> head(http::status::ok, version);
  head.set(http::field::server, "weir");
  head.set(http::field::content_type, kJsonLinesType);
  head.set(http::field::cache_control, "no-store");
  head.set("X-Content-Type-Options", "nosniff");
  head.keep_alive(false);
  head.chunked(version >= 11);
  http::response_serializer<http::empty_body> serializer(head);
  stream.expires_after(kWriteTime);
  if (auto [failed, sent] = co_await http::async_write_header(stream, serializer, kToken); failed) {
    co_return;
  }
  while ((co_await asio::this_coro::cancellation_state).cancelled() ==
         asio::cancellation_type::none) {
    if (!text.empty()) {
      stream.expires_after(kWriteTime);
      const auto [failed, sent] =
          head.chunked()
              ? co_await asio::async_write(stream, http::make_chunk(asio::buffer(text)), kToken)
              : co_await asio::async_write(stream, asio::buffer(text), kToken);
      if (failed) {
        co_return;
      }
    } else {
      stream.expires_never();
      if (!co_await wait(stream)) {
        co_return;
      }
    }
    read = x_log.read(read.next, kRowsAtOnce, query.filter);
    text = lines_of(read);
  }
}

} // namespace weir::admin
