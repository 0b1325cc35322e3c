// A blocking HTTP/1.1 client for tests that need more than curl gives: kept-alive connections, many
// requests, an answer that never comes told from one that was cut off. Deliberately simple: bodies
// with Content-Length only.
//
// Ownership: the connection owns its socket. Thread: one at a time.
// Errors: peers and networks are data (see HttpConnection::request); misuse throws.
#pragma once

#include "proxy/base/unique_fd.h"
#include "test/support/netns.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace weir::test {

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers; // names in lower case
  std::string body;
};

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";
  std::string host = "lab";
  std::string body = {};
};

class HttpConnection {
public:
  // From inside `from`; nothing when no connection came about within `limit`. `limit` also bounds
  // every later wait for bytes.
  static std::optional<HttpConnection>
  open(const NetNs& from, const std::string& address, std::uint16_t port,
       std::chrono::milliseconds limit = std::chrono::seconds(5));
  // On the calling thread's own network.
  static std::optional<HttpConnection>
  open(const std::string& address, std::uint16_t port,
       std::chrono::milliseconds limit = std::chrono::seconds(5));

  // Nothing when the connection ended, was reset or stayed silent before the reply was whole.
  std::optional<HttpReply> request(const HttpRequest& request);

  // True once the other side has closed or reset the connection; does not wait.
  [[nodiscard]] bool ended() const;

private:
  explicit HttpConnection(UniqueFd fd) : x_fd(std::move(fd)) {}
  bool send_all(std::string_view text);
  bool receive_more();

  UniqueFd x_fd;
  std::string x_buffer; // received, not yet part of a reply
};

// Does the admin server on this port of 127.0.0.1 say that its weir is ready?
[[nodiscard]] bool is_ready(std::uint16_t admin_port);

} // namespace weir::test
