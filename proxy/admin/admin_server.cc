#include "proxy/admin/admin_server.h"

#include "proxy/base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <csignal>

namespace weir::admin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr auto kToken = asio::as_tuple(asio::deferred);

// A socket, on each of the two faces, so that scrapers cannot lock the operator out.
constexpr std::size_t kMaxConnections = 32;
constexpr std::uint32_t kMaxHead = 8 * 1024;
constexpr std::uint64_t kMaxBody = 1024; // none is read
constexpr std::chrono::seconds kRequestTime{10};
constexpr std::chrono::seconds kReplyTime{10};
constexpr std::chrono::milliseconds kAcceptPause{100};

using Response = http::response<http::string_body>;

Response make_response(Reply reply, unsigned version, bool keep_alive) {
  Response response;
  response.version(version);
  response.result(reply.status);
  response.set(http::field::server, "weir");
  response.set(http::field::content_type, reply.content_type);
  response.set(http::field::cache_control, "no-store");
  response.set("X-Content-Type-Options", "nosniff");
  if (!reply.allow.empty()) {
    response.set(http::field::allow, reply.allow);
  }
  response.keep_alive(keep_alive);
  response.body() = std::move(reply.body);
  response.prepare_payload();
  return response;
}

// The answer to a request that could not be read; 0: none is due.
unsigned status_of(const beast::error_code& failed) {
  if (failed == http::error::header_limit) {
    return 431;
  }
  if (failed == http::error::body_limit) {
    return 413;
  }
  if (failed == http::error::end_of_stream || failed == http::error::partial_message ||
      failed.category() != beast::error_code(http::error::bad_method).category()) {
    return 0;
  }
  return 400;
}

} // namespace

AdminServer::AdminServer(const config::Config& config, Source& source)
    : x_config(config), x_routes{x_config, source, std::chrono::system_clock::now()},
      x_followers(x_context, source.flows()) {}

Result<std::unique_ptr<AdminServer>> AdminServer::start(const config::Config& config,
                                                        Source& source) {
  std::unique_ptr<AdminServer> server(new AdminServer(config, source));
  if (auto failed = server->listen(server->x_admin, config.admin, "admin.address"); !failed) {
    return failed.error();
  }
  if (auto failed = server->listen(server->x_metrics, config.metrics, "metrics.address"); !failed) {
    return failed.error();
  }
  server->x_gate.spawn(server->accept(server->x_admin));
  server->x_gate.spawn(server->accept(server->x_metrics));
  server->x_thread = std::thread([&self = *server] {
    // Signals are the main thread's.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    self.x_context.run();
  });
  return server;
}

AdminServer::~AdminServer() {
  asio::post(x_context, [this] {
    x_gate.close();
    beast::error_code ignored;
    x_admin.acceptor.close(ignored);
    x_metrics.acceptor.close(ignored);
  });
  if (x_thread.joinable()) {
    x_thread.join();
  } else {
    x_context.run(); // start() failed half-way
  }
}

Result<void> AdminServer::listen(Listener& listener, const SocketAddress& address,
                                 std::string_view key) {
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  tcp::endpoint endpoint;
  endpoint.resize(length);
  std::memcpy(endpoint.data(), &storage, length);
  boost::system::error_code failed;
  listener.acceptor.open(endpoint.protocol(), failed);
  if (!failed) {
    listener.acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
  }
  if (!failed) {
    listener.acceptor.bind(endpoint, failed);
  }
  if (!failed) {
    listener.acceptor.listen(static_cast<int>(kMaxConnections), failed);
  }
  if (failed) {
    return Error{failed, std::string(key) + " " + address.to_string()};
  }
  const auto bound = listener.acceptor.local_endpoint(failed);
  storage = {};
  std::memcpy(&storage, bound.data(), bound.size());
  listener.address = SocketAddress::from_sockaddr(storage);
  return {};
}

asio::awaitable<void> AdminServer::accept(Listener& listener) {
  while (true) {
    auto [failed, socket] = co_await listener.acceptor.async_accept(kToken);
    if (failed == asio::error::operation_aborted || !listener.acceptor.is_open()) {
      co_return;
    }
    if (failed) {
      log::warning("admin: accept: {}", failed.message());
      asio::steady_timer pause(x_context, kAcceptPause); // out of descriptors, most likely
      if (auto [stopped] = co_await pause.async_wait(kToken); stopped) {
        co_return;
      }
      continue;
    }
    if (listener.connections < kMaxConnections) {
      x_gate.spawn(serve(listener, std::move(socket)));
    }
  }
}

asio::awaitable<void> AdminServer::serve(Listener& listener, tcp::socket socket) {
  struct Counted {
    explicit Counted(std::size_t& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    std::size_t& count;
  } counted(listener.connections);

  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(kMaxHead + kMaxBody);
  bool keep_alive = true;
  while (keep_alive) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kMaxHead);
    parser.body_limit(kMaxBody);
    stream.expires_after(kRequestTime);
    const auto [unread, got] = co_await http::async_read(stream, buffer, parser, kToken);
    Response response;
    if (unread) {
      const unsigned status = status_of(unread);
      if (status == 0) {
        break;
      }
      keep_alive = false;
      response =
          make_response({status, "text/plain; charset=utf-8", "", "bad request\n", {}}, 11, false);
    } else {
      const auto& request = parser.get();
      keep_alive = request.keep_alive();
      Reply reply = answer(x_routes, listener.face,
                           {request.method(), request.target(), request[http::field::host],
                            request.find(http::field::origin) != request.end()});
      if (reply.follow && request.method() == http::verb::get) {
        if (!x_followers.full()) {
          co_await x_followers.serve(stream, request.version(), std::move(*reply.follow));
          break;
        }
        reply = {503, "text/plain; charset=utf-8", "", "too many follow already\n", {}};
      }
      response = make_response(std::move(reply), request.version(), keep_alive);
      if (request.method() == http::verb::head) {
        response.body().clear(); // Content-Length stays
      }
    }
    stream.expires_after(kReplyTime);
    const auto [unsent, sent] = co_await http::async_write(stream, response, kToken);
    if (unsent) {
      break;
    }
  }
  beast::error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
}

} // namespace weir::admin
