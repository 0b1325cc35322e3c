// Bodies of all sizes, both ways and pipelined, on one connection whose sockets are joined until it
// carries much: every byte arrives, in order, and small messages behind large bodies go by TCP.
#include "test/integration/listening_socket.h"
#include "test/support/kernel.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir::test {
namespace {

constexpr std::uint16_t kPort = 80;

const std::string kPolicy = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: POST, path: "/[0-9]+/[0-9]+"}]}
)";

// What body number `seed` is made of: no part of it looks like another.
std::string pattern(std::uint32_t seed, std::size_t size) {
  std::string bytes(size, '\0');
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (char& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

// A message with Content-Length, cut off the front of what has arrived.
struct Message {
  std::string start; // first line
  std::string body;
};
std::optional<Message> take_message(std::string& arrived) {
  const std::size_t end = arrived.find("\r\n\r\n");
  if (end == std::string::npos) {
    return std::nullopt;
  }
  std::string head = arrived.substr(0, end + 2);
  for (char& byte : head) {
    byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  }
  const std::size_t field = head.find("\r\ncontent-length: ");
  const std::size_t size =
      field == std::string::npos ? 0 : std::strtoull(head.c_str() + field + 18, nullptr, 10);
  if (arrived.size() < end + 4 + size) {
    return std::nullopt;
  }
  Message message{arrived.substr(0, arrived.find("\r\n")), arrived.substr(end + 4, size)};
  arrived.erase(0, end + 4 + size);
  return message;
}

// "POST /SEED/SIZE" with the body pattern(SEED, …): answers pattern(SEED + 1, SIZE), or 400 when
// the body is another. One connection, to its end.
class PatternServer {
public:
  explicit PatternServer(const NetNs& where)
      : x_stop(::eventfd(0, EFD_CLOEXEC)), x_listener(listening_socket(where, kPort, 8)),
        x_thread([this] { run(); }) {}
  PatternServer(const PatternServer&) = delete;
  PatternServer& operator=(const PatternServer&) = delete;
  ~PatternServer() {
    const std::uint64_t one = 1;
    static_cast<void>(::write(x_stop.get(), &one, sizeof one));
    x_thread.join();
  }

private:
  bool wait(int fd, short events) {
    std::array<pollfd, 2> waited = {{{x_stop.get(), POLLIN, 0}, {fd, events, 0}}};
    ::poll(waited.data(), waited.size(), -1);
    return waited[0].revents == 0;
  }

  void run() {
    while (wait(x_listener.get(), POLLIN)) {
      const UniqueFd connection(
          ::accept4(x_listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      std::string arrived, answer;
      std::vector<char> buffer(1 << 17);
      while (wait(connection.get(), static_cast<short>(answer.empty() ? POLLIN : POLLOUT))) {
        if (!answer.empty()) {
          const ssize_t sent = ::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
          answer.erase(0, sent > 0 ? static_cast<std::size_t>(sent) : 0);
          if (sent < 0 && errno != EAGAIN) {
            break;
          }
        } else {
          const ssize_t got = ::recv(connection.get(), buffer.data(), buffer.size(), 0);
          if (got == 0 || (got < 0 && errno != EAGAIN)) {
            break;
          }
          arrived.append(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
        }
        if (answer.empty()) {
          if (const auto request = take_message(arrived)) {
            answer = answer_to(*request);
          }
        }
      }
    }
  }

  static std::string answer_to(const Message& request) {
    char* end = nullptr;
    const auto seed = static_cast<std::uint32_t>(std::strtoul(request.start.c_str() + 6, &end, 10));
    const std::size_t size = std::strtoull(end + 1, nullptr, 10);
    const bool whole = request.body == pattern(seed, request.body.size());
    const std::string body = pattern(seed + 1, size);
    return std::string(whole ? "HTTP/1.1 200 OK" : "HTTP/1.1 400 Bad Request") +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  UniqueFd x_stop, x_listener;
  std::thread x_thread; // last: it uses the others
};

struct Exchange {
  std::size_t request = 0, answer = 0; // sizes of the bodies
};

class Client {
public:
  Client(const Pod& pod, Family family, const std::string& address)
      : x_fd(pod.netns().on_thread([&] {
          // Sockets that block are not joined.
          UniqueFd fd(::socket(family == Family::kV4 ? AF_INET : AF_INET6,
                               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
          sockaddr_in v4{};
          v4.sin_family = AF_INET;
          v4.sin_port = htons(kPort);
          sockaddr_in6 v6{};
          v6.sin6_family = AF_INET6;
          v6.sin6_port = htons(kPort);
          const int known = family == Family::kV4
                                ? ::inet_pton(AF_INET, address.c_str(), &v4.sin_addr)
                                : ::inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr);
          REQUIRE(known == 1);
          const int connected =
              family == Family::kV4
                  ? ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v4), sizeof v4)
                  : ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v6), sizeof v6);
          REQUIRE((connected == 0 || errno == EINPROGRESS));
          return fd;
        })) {}

  // All requests at once; each answer is compared. What went wrong first, or nothing.
  std::string exchange(const std::vector<Exchange>& exchanges) {
    const std::uint32_t first = x_seed;
    std::string out, arrived;
    for (const Exchange& one : exchanges) {
      const std::string body = pattern(x_seed, one.request);
      out += "POST /" + std::to_string(x_seed) + "/" + std::to_string(one.answer) +
             " HTTP/1.1\r\nHost: web\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\n\r\n" + body;
      x_seed += 2;
    }
    std::size_t sent = 0, answered = 0;
    std::vector<char> buffer(1 << 17);
    while (answered < exchanges.size()) {
      pollfd waited{x_fd.get(), static_cast<short>(POLLIN | (sent < out.size() ? POLLOUT : 0)), 0};
      if (::poll(&waited, 1, 20'000) != 1) {
        return "stalled before answer " + std::to_string(answered);
      }
      if ((waited.revents & POLLOUT) != 0) {
        const ssize_t length =
            ::send(x_fd.get(), out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
        sent += length > 0 ? static_cast<std::size_t>(length) : 0;
      }
      if ((waited.revents & ~POLLOUT) != 0) {
        const ssize_t length = ::recv(x_fd.get(), buffer.data(), buffer.size(), 0);
        if (length == 0 || (length < 0 && errno != EAGAIN)) {
          return "ended before answer " + std::to_string(answered);
        }
        arrived.append(buffer.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
      }
      for (auto answer = take_message(arrived); answer; answer = take_message(arrived)) {
        const auto seed = static_cast<std::uint32_t>(first + 2 * answered + 1);
        if (answer->start != "HTTP/1.1 200 OK" ||
            answer->body != pattern(seed, exchanges[answered].answer)) {
          return "answer " + std::to_string(answered) + " is wrong: " + answer->start;
        }
        ++answered;
      }
    }
    return arrived.empty() ? "" : "more than was asked for";
  }

private:
  UniqueFd x_fd;
  std::uint32_t x_seed = 1;
};

std::int64_t joined_messages(Lab& lab) {
  const auto shown = lab.admin_json("/acceleration");
  return shown.at("messages_to_proxy").to_number<std::int64_t>() +
         shown.at("messages_to_pods").to_number<std::int64_t>();
}

} // namespace

TEST_CASE("bodies of all sizes arrive whole on a connection that is joined until it carries much") {
  require_root();
  require_joined_sockets();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.policies().publish({{"web.yaml", kPolicy}});
  lab.set_acceleration("{enabled: true, pods: [\"shop/*\"]}");
  lab.start_weir();
  const PatternServer server(web.netns());
  constexpr std::size_t kLarge = 2 * 1024 * 1024;
  const std::vector<Exchange> small(20, Exchange{.request = 10, .answer = 16'000});
  const std::vector<Exchange> uploads{{kLarge, 1}, {1, 1}, {100'000, 0}, {kLarge, 100}, {0, 0}};
  const std::vector<Exchange> downloads{{1, kLarge}, {1, 1}, {0, 100'000}, {100, kLarge}, {0, 0}};
  const std::vector<Exchange> both{{kLarge, kLarge}, {1, 1}, {300'000, 300'000}, {1, kLarge}};
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const auto& large : {uploads, downloads, both}) {
      INFO(to_string(family) << ", " << large.front().request << " up, " << large.front().answer
                             << " down");
      Client connection(client, family, web.address(family));
      const auto before = joined_messages(lab);
      REQUIRE(connection.exchange(small) == "");
      CHECK(joined_messages(lab) > before);
      // In turns, and as much as it takes: what left the short way stays out.
      for (int i = 0; i < 3; ++i) {
        REQUIRE(connection.exchange(large) == "");
        REQUIRE(connection.exchange(small) == "");
      }
      const auto left = joined_messages(lab);
      REQUIRE(connection.exchange(small) == "");
      CHECK(joined_messages(lab) == left);
    }
  }
}

} // namespace weir::test
