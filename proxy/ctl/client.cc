#include "proxy/ctl/client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include <chrono>
#include <cstring>

namespace weir::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::chrono::seconds kTime{10}; // /ready may take one; a proxy that drains, a few
constexpr std::uint64_t kMaxBody = 256u << 20;

// Runs one asynchronous operation to its end: only those observe the stream's time limit.
template <typename Start>
beast::error_code run(asio::io_context& context, beast::tcp_stream& stream, Start start) {
  beast::error_code result;
  stream.expires_after(kTime);
  start([&result](beast::error_code failed, auto&&...) { result = failed; });
  context.restart();
  context.run();
  return result;
}

// A connection on which the request has been sent; its parts may not move.
struct Asking {
  asio::io_context context;
  beast::tcp_stream stream{context};

  beast::error_code ask(const SocketAddress& admin, std::string_view path) {
    sockaddr_storage storage;
    const socklen_t length = admin.to_sockaddr(storage);
    asio::ip::tcp::endpoint endpoint;
    endpoint.resize(length);
    std::memcpy(endpoint.data(), &storage, length);
    if (const auto code =
            run(context, stream, [&](auto done) { stream.async_connect(endpoint, done); })) {
      return code;
    }
    http::request<http::empty_body> request(http::verb::get, {path.data(), path.size()}, 11);
    request.set(http::field::host, admin.to_string());
    request.keep_alive(false);
    return run(context, stream, [&](auto done) { http::async_write(stream, request, done); });
  }
};

Error no_answer(const SocketAddress& admin, const beast::error_code& code) {
  return Error{code, "weir-proxy at " + admin.to_string()};
}

template <typename Response>
Error refused(const SocketAddress& admin, const Response& response) {
  return invalid_error("weir-proxy at " + admin.to_string() + " answered " +
                       std::to_string(response.result_int()) + ": " + response.body());
}

} // namespace

Result<std::string> get_text(const SocketAddress& admin, std::string_view path) {
  Asking asking;
  if (const auto code = asking.ask(admin, path)) {
    return no_answer(admin, code);
  }
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxBody);
  if (const auto code = run(asking.context, asking.stream, [&](auto done) {
        http::async_read(asking.stream, buffer, parser, done);
      })) {
    return no_answer(admin, code);
  }
  auto response = parser.release();
  if (response.result() != http::status::ok) {
    return refused(admin, response);
  }
  return std::move(response.body());
}

Result<void> follow_lines(const SocketAddress& admin, std::string_view path,
                          const std::function<bool(std::string_view)>& take) {
  Asking asking;
  if (const auto code = asking.ask(admin, path)) {
    return no_answer(admin, code);
  }
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  if (const auto code = run(asking.context, asking.stream, [&](auto done) {
        http::async_read_header(asking.stream, buffer, parser, done);
      })) {
    return no_answer(admin, code);
  }
  asking.stream.expires_never();
  std::string text;
  beast::error_code failed;
  while (!parser.is_done() && !failed) {
    http::read_some(asking.stream, buffer, parser, failed);
    if (parser.get().result() != http::status::ok) {
      continue;
    }
    text += parser.get().body();
    parser.get().body().clear();
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      if (!take(std::string_view(text).substr(begin, end - begin))) {
        return {};
      }
      begin = end + 1;
    }
    text.erase(0, begin);
  }
  if (parser.get().result() != http::status::ok) {
    return refused(admin, parser.get());
  }
  return no_answer(admin, failed ? failed : beast::error_code(http::error::end_of_stream));
}

Result<boost::json::value> get_json(const SocketAddress& admin, std::string_view path) {
  const auto text = get_text(admin, path);
  if (!text) {
    return text.error();
  }
  boost::system::error_code failed;
  auto value = boost::json::parse(*text, failed);
  if (failed) {
    return Error{failed, "what " + admin.to_string() + " answered to " + std::string(path)};
  }
  return value;
}

} // namespace weir::ctl
