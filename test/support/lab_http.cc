#include "test/support/lab_http.h"

#include "test/support/must.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <stdexcept>

namespace weir::test {
namespace {

struct Destination {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Destination parse(const std::string& address, std::uint16_t port) {
  Destination destination;
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&destination.storage);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&destination.storage);
  if (::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    destination.size = sizeof *v6;
  } else if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    destination.size = sizeof *v4;
  } else {
    throw std::invalid_argument("not an address: " + address);
  }
  return destination;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

HttpReply parse_head(std::string_view head) {
  HttpReply reply;
  const std::size_t space = head.find(' ');
  if (space == std::string_view::npos || head.size() < space + 4) {
    throw std::runtime_error("no status line: " + std::string(head));
  }
  std::from_chars(head.data() + space + 1, head.data() + space + 4, reply.status);
  std::size_t at = head.find("\r\n");
  while (at != std::string_view::npos) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string_view line = head.substr(begin, at - begin);
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      const std::size_t value = line.find_first_not_of(' ', colon + 1);
      reply.headers[lower(std::string(line.substr(0, colon)))] =
          value == std::string_view::npos ? "" : line.substr(value);
    }
  }
  return reply;
}

std::size_t body_size(const HttpReply& reply) {
  const auto length = reply.headers.find("content-length");
  if (length != reply.headers.end()) {
    return std::stoul(length->second);
  }
  if (reply.headers.contains("transfer-encoding")) {
    throw std::runtime_error("this client reads no chunked bodies");
  }
  return 0;
}

} // namespace

std::optional<HttpConnection> HttpConnection::open(const NetNs& from, const std::string& address,
                                                   std::uint16_t port,
                                                   std::chrono::milliseconds limit) {
  return from.on_thread([&] { return open(address, port, limit); });
}

std::optional<HttpConnection> HttpConnection::open(const std::string& address, std::uint16_t port,
                                                   std::chrono::milliseconds limit) {
  const Destination destination = parse(address, port);
  UniqueFd fd(::socket(destination.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  must(fd.valid(), "socket");
  timeval time{};
  time.tv_sec = limit.count() / 1000;
  time.tv_usec = limit.count() % 1000 * 1000;
  // The send limit bounds connect() too (socket(7)).
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&destination.storage),
                destination.size) != 0) {
    return std::nullopt;
  }
  return HttpConnection(std::move(fd));
}

bool HttpConnection::send_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(x_fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool HttpConnection::receive_more() {
  char buffer[16384];
  const ssize_t size = ::recv(x_fd.get(), buffer, sizeof buffer, 0);
  if (size <= 0) {
    return false;
  }
  x_buffer.append(buffer, static_cast<std::size_t>(size));
  return true;
}

std::optional<HttpReply> HttpConnection::request(const HttpRequest& request) {
  std::string text =
      request.method + " " + request.target + " HTTP/1.1\r\nHost: " + request.host + "\r\n";
  if (!request.body.empty()) {
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  text += "\r\n" + request.body;
  if (!send_all(text)) {
    return std::nullopt;
  }
  std::size_t end = std::string::npos;
  while ((end = x_buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!receive_more()) {
      return std::nullopt;
    }
  }
  HttpReply reply = parse_head(std::string_view(x_buffer).substr(0, end));
  const std::size_t begin = end + 4;
  const std::size_t size = request.method == "HEAD" ? 0 : body_size(reply);
  while (x_buffer.size() < begin + size) {
    if (!receive_more()) {
      return std::nullopt;
    }
  }
  reply.body = x_buffer.substr(begin, size);
  x_buffer.erase(0, begin + size);
  return reply;
}

bool HttpConnection::ended() const {
  pollfd fd{x_fd.get(), POLLIN | POLLRDHUP, 0};
  ::poll(&fd, 1, 0);
  return (fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool is_ready(std::uint16_t admin_port) {
  auto connection = HttpConnection::open("127.0.0.1", admin_port);
  const auto reply =
      connection ? connection->request({.target = "/ready", .host = "127.0.0.1"}) : std::nullopt;
  return reply && reply->status == 200;
}

} // namespace weir::test
