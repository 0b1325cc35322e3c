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

} // namespace

Result<std::string> get_text(const SocketAddress& admin, std::string_view path) {
  asio::io_context context;
  beast::tcp_stream stream(context);
  const auto failed = [&](const beast::error_code& code) {
    return Error{code, "weir-proxy at " + admin.to_string()};
  };

  sockaddr_storage storage;
  const socklen_t length = admin.to_sockaddr(storage);
  asio::ip::tcp::endpoint endpoint;
  endpoint.resize(length);
  std::memcpy(endpoint.data(), &storage, length);
  if (const auto code =
          run(context, stream, [&](auto done) { stream.async_connect(endpoint, done); })) {
    return failed(code);
  }

  http::request<http::empty_body> request(http::verb::get, {path.data(), path.size()}, 11);
  request.set(http::field::host, admin.to_string());
  request.keep_alive(false);
  if (const auto code =
          run(context, stream, [&](auto done) { http::async_write(stream, request, done); })) {
    return failed(code);
  }

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxBody);
  if (const auto code = run(context, stream,
                            [&](auto done) { http::async_read(stream, buffer, parser, done); })) {
    return failed(code);
  }
  auto response = parser.release();
  if (response.result() != http::status::ok) {
    return invalid_error("weir-proxy at " + admin.to_string() + " answered " +
                         std::to_string(response.result_int()) + ": " + response.body());
  }
  return std::move(response.body());
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
