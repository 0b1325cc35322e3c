// An API server that answers as a test tells it, on loopback and on the test's own io_context: for
// the faults that a real one cannot be made to give.
#pragma once

#include "proxy/runtime/gate.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace weir::test {

class FakeApi {
public:
  // From the target of a request to the pieces that are written one by one, then cut.
  using Answer = std::function<std::vector<std::string>(const std::string& target)>;

  FakeApi(boost::asio::io_context& context, Answer answer)
      : x_answer(std::move(answer)),
        x_acceptor(context, {boost::asio::ip::address_v4::loopback(), 0}), x_gate(context) {
    x_gate.spawn(accept());
  }

  [[nodiscard]] std::string kubeconfig() const {
    return "clusters: [{name: c, cluster: {server: \"http://127.0.0.1:" +
           std::to_string(x_acceptor.local_endpoint().port()) +
           "\"}}]\nusers: [{name: u, user: {}}]\n"
           "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n";
  }
  runtime::Gate& gate() { return x_gate; }

  static std::string head(unsigned status, std::size_t length, const std::string& more = "") {
    return "HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Type: application/json\r\n" +
           more + "Content-Length: " + std::to_string(length) + "\r\n\r\n";
  }
  static std::vector<std::string> whole(unsigned status, const std::string& body) {
    return {head(status, body.size()) + body};
  }

private:
  static constexpr auto kToken = boost::asio::as_tuple(boost::asio::deferred);

  boost::asio::awaitable<void> accept() {
    for (;;) {
      auto [failed, socket] = co_await x_acceptor.async_accept(kToken);
      if (failed) {
        co_return;
      }
      x_gate.spawn(serve(std::move(socket)));
    }
  }

  boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket) {
    std::string request;
    auto [unread, size] = co_await boost::asio::async_read_until(
        socket, boost::asio::dynamic_buffer(request), "\r\n\r\n", kToken);
    if (unread) {
      co_return;
    }
    const auto begin = request.find(' ') + 1;
    const auto pieces = x_answer(request.substr(begin, request.find(' ', begin) - begin));
    socket.set_option(boost::asio::ip::tcp::no_delay(true));
    for (const auto& piece : pieces) {
      auto [unsent, sent] =
          co_await boost::asio::async_write(socket, boost::asio::buffer(piece), kToken);
      if (unsent) {
        co_return;
      }
    }
  }

  Answer x_answer;
  boost::asio::ip::tcp::acceptor x_acceptor;
  runtime::Gate x_gate;
};

} // namespace weir::test
