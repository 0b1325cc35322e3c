// One attempt at what is forbidden each millisecond, whether earlier ones have ended or not: a gap
// in enforcement of a few milliseconds does not fall between two of them.
//
// An attempt is a connection and one GET; it got through if the server's 200 came back within
// kPatience. It ends with a reset, so that no port waits in TIME_WAIT.
#pragma once

#include "proxy/base/unique_fd.h"
#include "test/integration/attempts.h"
#include "test/support/lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

class SteadyAttempts : public Attempts {
public:
  static constexpr std::chrono::milliseconds kEach{1}, kPatience{50};

  // From inside the pod, which outlives it.
  SteadyAttempts(const Pod& pod, const std::string& address, const std::string& target);

private:
  class Maker;
};

class SteadyAttempts::Maker {
public:
  Maker(const std::string& address, const std::string& target)
      : x_to(socket_address(address)),
        x_request("GET " + target + " HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n") {}

  void run(Attempts& made) const {
    std::deque<Attempt> open; // in the order of their ends
    std::vector<pollfd> waited;
    for (auto next = Clock::now(); !made.stopped();) {
      const auto now = Clock::now();
      // Late by more than that, the thread did not run: the rate is lost, a burst would not mend
      // it.
      next = std::max(next, now - 10 * kEach);
      for (; next <= now; next += kEach) {
        open.push_back(begin(now));
        made.count_attempt();
      }
      while (!open.empty() && (open.front().end <= now || !open.front().fd.valid())) {
        open.pop_front();
      }
      waited.clear();
      for (const Attempt& one : open) {
        const int events = one.asked ? POLLIN : POLLOUT;
        waited.push_back({one.fd.get(), static_cast<short>(events), 0});
      }
      ::poll(waited.data(), waited.size(), 1);
      for (std::size_t i = 0; i < waited.size(); ++i) {
        if (waited[i].revents != 0) {
          go_on(open[i], made);
        }
      }
    }
  }

private:
  using Clock = std::chrono::steady_clock;

  struct Attempt {
    UniqueFd fd;
    Clock::time_point end;
    bool asked = false;
  };

  static sockaddr_storage socket_address(const std::string& address) {
    sockaddr_storage to{};
    auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&to);
    if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(80);
    } else if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(80);
    } else {
      throw std::invalid_argument(address);
    }
    return to;
  }

  Attempt begin(Clock::time_point now) const {
    Attempt one{UniqueFd(::socket(x_to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
                now + kPatience};
    const linger reset{1, 0};
    ::setsockopt(one.fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    static_cast<void>(
        ::connect(one.fd.get(), reinterpret_cast<const sockaddr*>(&x_to), sizeof x_to));
    return one;
  }

  void go_on(Attempt& one, Attempts& made) const {
    if (!one.asked) {
      one.asked = ::send(one.fd.get(), x_request.data(), x_request.size(), MSG_NOSIGNAL) > 0;
      if (!one.asked) {
        one.fd.reset();
      }
      return;
    }
    std::array<char, 512> bytes{};
    const ssize_t got = ::recv(one.fd.get(), bytes.data(), bytes.size(), 0);
    if (got > 0 &&
        std::string_view(bytes.data(), static_cast<std::size_t>(got)).starts_with("HTTP/1.1 200")) {
      made.count_passed();
    }
    one.fd.reset();
  }

  const sockaddr_storage x_to;
  const std::string x_request;
};

inline SteadyAttempts::SteadyAttempts(const Pod& pod, const std::string& address,
                                      const std::string& target)
    : Attempts([&pod, maker = Maker(address, target)](Attempts& made) {
        pod.netns().on_thread([&] { maker.run(made); });
      }) {}

} // namespace weir::test
