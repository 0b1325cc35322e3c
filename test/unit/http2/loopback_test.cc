// HTTP/2 sessions on real sockets between other people's clients and servers (nghttp, h2load,
// curl; nghttpd), all on the loopback interface.
#include "proxy/net/connector.h"
#include "proxy/net/socket_stream.h"
#include "proxy/runtime/gate.h"
#include "proxy/session/http2_session.h"
#include "test/support/process.h"
#include "test/support/recording_log.h"
#include "test/support/temp_folder.h"
#include "test/unit/http2/bridge_fixture.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

using namespace weir;
using namespace weir::test;
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

std::uint16_t free_port() {
  asio::io_context context;
  return tcp::acceptor(context, {asio::ip::address_v4::loopback(), 0}).local_endpoint().port();
}

bool answers(std::uint16_t port) {
  asio::io_context context;
  tcp::socket socket(context);
  boost::system::error_code error;
  socket.connect({asio::ip::address_v4::loopback(), port}, error);
  return !error;
}

// nghttpd with the files of a folder. Another program may take the port between asking for a free
// one and using it: then a new one is tried.
class Server {
public:
  explicit Server(const std::string& folder) {
    for (int attempt = 0; attempt < 5; ++attempt) {
      port = free_port();
      x_process = std::make_unique<Process>(
          Process::start({.argv = {"nghttpd", "--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d",
                                   folder, std::to_string(port)}}));
      while (x_process->running()) {
        if (answers(port)) {
          return;
        }
        std::this_thread::yield();
      }
    }
    FAIL("nghttpd does not start");
  }
  std::uint16_t port = 0;

private:
  std::unique_ptr<Process> x_process;
};

// A worker in small: accepts and serves HTTP/2 on a thread of its own.
class Proxy {
public:
  explicit Proxy(std::uint16_t server_port)
      : x_upstream{IpAddress::from_v4({127, 0, 0, 1}), server_port},
        x_service(x_config, metrics, log, 0), x_options(session::http2_options(x_config, {})),
        x_acceptor(x_context, {asio::ip::address_v4::loopback(), 0}),
        port(x_acceptor.local_endpoint().port()) {
    x_gate.spawn(x_service.watchdog.run());
    accept();
    x_thread = std::thread([this] { x_context.run(); });
  }
  ~Proxy() { stop(); }
  void stop() {
    if (x_thread.joinable()) {
      asio::post(x_context, [this] {
        x_acceptor.close();
        x_gate.close();
      });
      x_thread.join();
    }
  }

private:
  SocketAddress x_upstream;

public:
  WorkerMetrics metrics;
  RecordingLog log; // to be read after stop()

private:
  void accept() {
    x_acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (error) {
        return;
      }
      x_gate.spawn(session::serve_http2(
          x_options, x_context, x_service, std::make_unique<net::SocketStream>(std::move(socket)),
          "", std::make_unique<TableJudge>(),
          std::make_unique<net::TcpConnector>(x_upstream, std::nullopt, std::chrono::seconds(5))));
      accept();
    });
  }

  asio::io_context x_context;
  runtime::Gate x_gate{x_context};
  config::Http x_config;
  session::HttpService x_service;
  session::Http2Bridge::Options x_options;
  tcp::acceptor x_acceptor;
  std::thread x_thread;

public:
  const std::uint16_t port;
};

std::string write_file(const std::filesystem::path& path, std::size_t size) {
  std::string text(size, 0);
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  }
  std::ofstream(path, std::ios::binary) << text;
  return text;
}

std::string url(const Proxy& proxy, const std::string& path) {
  return "http://127.0.0.1:" + std::to_string(proxy.port) + path;
}

} // namespace

TEST_CASE("nghttp and curl get files from nghttpd and denials from weir") {
  TempFolder folder;
  const std::string text = write_file(folder.path() / "file", 100000);
  Server server(folder.path().string());
  Proxy proxy(server.port);

  const Outcome allowed = run({.argv = {"nghttp", url(proxy, "/x/../file")}});
  INFO(allowed.text());
  CHECK(allowed.out == text);

  const Outcome denied =
      run({.argv = {"curl", "-s", "--http2-prior-knowledge", "-i", url(proxy, "/a/../admin")}});
  INFO(denied.text());
  CHECK(denied.out.starts_with("HTTP/2 403"));
  CHECK(denied.out.find("x-weir-denied-by: shop/api") != std::string::npos);
  CHECK(denied.out.ends_with("Access denied\r\n"));

  const Outcome head =
      run({.argv = {"curl", "-s", "--http2-prior-knowledge", "-I", url(proxy, "/file")}});
  CHECK(head.out.find("content-length: 100000") != std::string::npos);
}

TEST_CASE("Bodies of several windows go up and come back whole") {
  TempFolder folder;
  const std::string text = write_file(folder.path() / "big", 8 * 1024 * 1024);
  Server server(folder.path().string());
  Proxy proxy(server.port);
  const Outcome echo = run({.argv = {"curl", "-s", "--http2-prior-knowledge", "--data-binary",
                                     "@" + (folder.path() / "big").string(), "-o",
                                     (folder.path() / "back").string(), url(proxy, "/echo")}});
  INFO(echo.text());
  CHECK(echo.exit_code == 0);
  std::ifstream back(folder.path() / "back", std::ios::binary);
  const std::string received((std::istreambuf_iterator<char>(back)),
                             std::istreambuf_iterator<char>());
  CHECK((received == text));
}

TEST_CASE("h2load with a hundred streams a connection loses nothing") {
  TempFolder folder;
  write_file(folder.path() / "file", 1000);
  Server server(folder.path().string());
  Proxy proxy(server.port);
  const Outcome load =
      run({.argv = {"h2load", "-n", "5000", "-c", "4", "-m", "100", url(proxy, "/file")}});
  INFO(load.text());
  CHECK(load.out.find("5000 succeeded, 0 failed, 0 errored, 0 timeout") != std::string::npos);
  proxy.stop();
  CHECK(proxy.log.lines.size() == 5000);
  CHECK(proxy.metrics.http2_connections_opened.value() == 4);
  CHECK(proxy.metrics.http2_connections_closed.value() == 4);
}
