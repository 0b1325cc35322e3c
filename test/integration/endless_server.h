// A server whose answers have no end, for tests of readers that do not read: it gives each
// connection as much as is taken, and counts it. A request with the host "small" gets two bytes.
//
// Ownership: the destructor ends its thread and all connections. Counters: any thread.
#pragma once

#include "proxy/base/unique_fd.h"
#include "test/integration/listening_socket.h"
#include "test/support/netns.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir::test {

class EndlessServer {
public:
  EndlessServer(const NetNs& where, std::uint16_t port)
      : x_end(::eventfd(0, EFD_CLOEXEC)), x_listener(listening_socket(where, port, 1024)),
        x_thread([this] { run(); }) {}
  EndlessServer(const EndlessServer&) = delete;
  EndlessServer& operator=(const EndlessServer&) = delete;
  ~EndlessServer() {
    const std::uint64_t one = 1;
    static_cast<void>(::write(x_end.get(), &one, sizeof one));
    x_thread.join();
  }

  [[nodiscard]] std::uint64_t given() const { return x_given; } // bytes of endless answers
  [[nodiscard]] unsigned answering() const { return x_answering; }

private:
  struct Connection {
    UniqueFd fd;
    std::string head;
    bool endless = false;
  };

  void run() {
    std::vector<Connection> connections;
    while (true) {
      std::vector<pollfd> waited = {{x_end.get(), POLLIN, 0}, {x_listener.get(), POLLIN, 0}};
      for (const Connection& one : connections) {
        const int events = one.endless ? POLLOUT : POLLIN;
        waited.push_back({one.fd.get(), static_cast<short>(events), 0});
      }
      if (::poll(waited.data(), waited.size(), -1) <= 0) {
        continue;
      }
      if (waited[0].revents != 0) {
        return;
      }
      const std::size_t known = connections.size();
      if (waited[1].revents != 0) {
        connections.push_back(
            {UniqueFd(::accept4(x_listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)),
             {}});
      }
      for (std::size_t i = known; i-- > 0;) {
        if (waited[i + 2].revents != 0 && !serve(connections[i])) {
          connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
        }
      }
    }
  }

  // False: it is over.
  bool serve(Connection& connection) {
    static constexpr std::array<char, 64 * 1024> kZeros{};
    if (connection.endless) {
      const ssize_t sent =
          ::send(connection.fd.get(), kZeros.data(), kZeros.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        x_given += static_cast<std::uint64_t>(sent);
      }
      if (sent > 0 || errno == EAGAIN) {
        return true;
      }
      --x_answering;
      return false;
    }
    std::array<char, 4096> bytes{};
    const ssize_t got = ::recv(connection.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) {
      return got < 0 && errno == EAGAIN;
    }
    connection.head.append(bytes.data(), static_cast<std::size_t>(got));
    if (connection.head.find("\r\n\r\n") == std::string::npos) {
      return true;
    }
    connection.endless = connection.head.find("ost: small\r\n") == std::string::npos;
    connection.head.clear();
    const std::string_view answer = connection.endless
                                        ? "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n"
                                        : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    x_answering += connection.endless ? 1 : 0;
    return ::send(connection.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(answer.size());
  }

  UniqueFd x_end, x_listener;
  std::atomic<std::uint64_t> x_given{0};
  std::atomic<unsigned> x_answering{0};
  std::thread x_thread; // last: it uses the others
};

} // namespace weir::test
