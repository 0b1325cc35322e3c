#include "proxy/ctl/probe.h"

#include "proxy/base/dns_name.h"
#include "proxy/base/unique_fd.h"
#include "proxy/ctl/command.h"
#include "proxy/tls/alert.h"

#include <boost/json.hpp>
#include <openssl/ssl.h>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <random>

namespace weir::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using Verdict = ProbeAnswer::Verdict;

constexpr std::size_t kMaxAnswer = 64u << 10;

std::string text_of(std::chrono::milliseconds time) { return std::to_string(time.count()) + " ms"; }

class Socket {
public:
  Socket(int type, std::chrono::milliseconds patience)
      : x_type(type), x_until(Clock::now() + patience) {}

  // 0, or why not: ETIMEDOUT when nobody answered.
  int connect(const SocketAddress& target) {
    sockaddr_storage storage{};
    const socklen_t length = target.to_sockaddr(storage);
    x_fd.reset(::socket(storage.ss_family, x_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!x_fd.valid()) {
      return errno;
    }
    if (::connect(x_fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0) {
      return 0;
    }
    if (errno != EINPROGRESS) {
      return errno;
    }
    if (!await(POLLOUT)) {
      return ETIMEDOUT;
    }
    int failed = 0;
    socklen_t size = sizeof(failed);
    ::getsockopt(x_fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
    return failed;
  }
  int send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(x_fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno != EAGAIN || !await(POLLOUT)) {
        return errno == EAGAIN ? ETIMEDOUT : errno;
      }
    }
    return 0;
  }
  // Adds to `bytes`; 0 also at the end of the stream, where nothing is added.
  int receive(std::string& bytes) {
    char buffer[4096];
    if (!await(POLLIN)) {
      return ETIMEDOUT;
    }
    const auto got = ::recv(x_fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0) {
      return errno;
    }
    bytes.append(buffer, static_cast<std::size_t>(got));
    return 0;
  }

private:
  bool await(short events) {
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(x_until - Clock::now());
      if (left.count() <= 0) {
        return false;
      }
      pollfd wait{x_fd.get(), events, 0};
      const int ready = ::poll(&wait, 1, static_cast<int>(left.count()));
      if (ready > 0) {
        return true;
      }
      if (ready < 0 && errno != EINTR) {
        return false;
      }
    }
  }

  int x_type;
  Clock::time_point x_until;
  UniqueFd x_fd;
};

// What a connection that was not made says: weir drops what is denied, and a server that refuses
// was reached.
ProbeAnswer unconnected(int failed, std::chrono::milliseconds patience) {
  if (failed == ETIMEDOUT) {
    return {Verdict::kDenied, "no answer in " + text_of(patience)};
  }
  if (failed == ECONNREFUSED) {
    return {Verdict::kAllowed, "refused by the other end, where nobody listens"};
  }
  return {Verdict::kUnclear, std::strerror(failed)};
}

// Where the proxy judges it takes the connection, so that no answer is no verdict.
ProbeAnswer unjudged(int failed, std::chrono::milliseconds patience) {
  return {Verdict::kUnclear,
          failed == ETIMEDOUT ? "no answer in " + text_of(patience) : std::strerror(failed)};
}

ProbeAnswer send_http(const Probe& probe, std::chrono::milliseconds patience) {
  Socket socket(SOCK_STREAM, patience);
  if (const int failed = socket.connect(probe.target)) {
    return unjudged(failed, patience);
  }
  std::string request = probe.method + " " + probe.path + " HTTP/1.1\r\nHost: " + probe.host +
                        "\r\nUser-Agent: weirctl-connectivity-test\r\nConnection: close\r\n";
  for (const auto& [name, value] : probe.headers) {
    request += name + ": " + value + "\r\n";
  }
  if (const int failed = socket.send(request + "\r\n")) {
    return unjudged(failed, patience);
  }
  std::string answer;
  while (answer.find("\r\n\r\n") == std::string::npos) {
    const std::size_t before = answer.size();
    if (const int failed = socket.receive(answer)) {
      return unjudged(failed, patience);
    }
    if (answer.size() == before || answer.size() > kMaxAnswer) {
      return {Verdict::kUnclear, "no HTTP answer"};
    }
  }
  const std::string status = answer.substr(answer.find(' ') + 1, 3);
  constexpr std::string_view kDenier = "\r\nx-weir-denied-by: ";
  const auto denied = answer.find(kDenier);
  if (denied == std::string::npos) {
    return {Verdict::kAllowed, status};
  }
  const auto begin = denied + kDenier.size();
  return {Verdict::kDenied,
          status + ", denied by " + answer.substr(begin, answer.find('\r', begin) - begin)};
}

std::string client_hello(const std::string& name) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(context.get()), SSL_free);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(tls.get(), BIO_new(BIO_s_mem()), out); // which owns both from here on
  SSL_set_connect_state(tls.get());
  SSL_set_tlsext_host_name(tls.get(), name.c_str());
  SSL_do_handshake(tls.get()); // wants an answer
  char* bytes = nullptr;
  const long length = BIO_get_mem_data(out, &bytes);
  return {bytes, static_cast<std::size_t>(length)};
}

ProbeAnswer send_tls(const Probe& probe, std::chrono::milliseconds patience) {
  Socket socket(SOCK_STREAM, patience);
  if (const int failed = socket.connect(probe.target)) {
    return unjudged(failed, patience);
  }
  if (const int failed = socket.send(client_hello(probe.name))) {
    return unjudged(failed, patience);
  }
  std::string answer;
  while (answer.size() < 7) { // an alert that is not encrypted
    const std::size_t before = answer.size();
    const int failed = socket.receive(answer);
    if (failed != 0 && failed != ECONNRESET) {
      return unjudged(failed, patience);
    }
    if (answer.size() == before) { // weir says no with an alert, never so
      return {Verdict::kAllowed, "closed by the other end"};
    }
  }
  const auto alert = tls::alert_record(tls::Alert::kUnrecognizedName);
  const auto denied = tls::alert_record(tls::Alert::kAccessDenied);
  const auto is = [&](const auto& record) {
    return answer[0] == static_cast<char>(record[0]) &&
           answer[6] == static_cast<char>(record[6]); // the versions between differ
  };
  return is(alert) || is(denied) ? ProbeAnswer{Verdict::kDenied, "a TLS alert"}
                                 : ProbeAnswer{Verdict::kAllowed, "answered"};
}

// RFC 1035, section 4.1: one question, A IN.
std::string dns_query(const DnsName& name, std::uint16_t id) {
  std::string out = {
      static_cast<char>(id >> 8), static_cast<char>(id & 0xff), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  out += name.wire();
  out.append({0, 0, 1, 0, 1});
  return out;
}

ProbeAnswer send_dns(const Probe& probe, std::chrono::milliseconds patience) {
  constexpr int kServerFailure = 2, kRefused = 5;
  const auto name = DnsName::from_text(probe.name);
  if (!name) {
    return {Verdict::kUnclear, "no DNS name"};
  }
  Socket socket(SOCK_DGRAM, patience);
  const auto id = static_cast<std::uint16_t>(std::random_device{}());
  const std::string query = dns_query(*name, id);
  if (const int failed = socket.connect(probe.target); failed || socket.send(query)) {
    return unjudged(failed == 0 ? EIO : failed, patience);
  }
  std::string answer;
  if (const int failed = socket.receive(answer)) {
    return unjudged(failed, patience);
  }
  if (answer.size() < 12 || answer.compare(0, 2, query, 0, 2) != 0) {
    return {Verdict::kUnclear, "no DNS answer"};
  }
  const int code = answer[3] & 0xf;
  const std::string text = "rcode " + std::to_string(code);
  return {code == kRefused         ? Verdict::kDenied
          : code == kServerFailure ? Verdict::kUnclear
                                   : Verdict::kAllowed,
          text};
}

} // namespace

std::string Probe::text() const {
  std::string what = kind == "http"  ? method + " " + path
                     : kind == "dns" ? "DNS " + name
                     : kind == "tls" ? "TLS " + name
                                     : "connect";
  return what + " to " + to + " " + target.to_string() + (udp ? "/UDP" : "/TCP");
}

Result<Probe> read_probe(const boost::json::object& row) {
  Probe probe;
  probe.rule = cell(row, "rule");
  probe.kind = cell(row, "kind");
  probe.from = cell(row, "from");
  probe.to = cell(row, "to");
  probe.method = cell(row, "method");
  probe.path = cell(row, "path");
  probe.host = cell(row, "host");
  probe.name = cell(row, "name");
  probe.udp = cell(row, "protocol") == "UDP";
  probe.expect_allowed = cell(row, "expect") == "allowed";
  probe.interface = cell(row, "interface");
  const auto to = IpAddress::parse(cell(row, "ip"));
  const std::string port = cell(row, "port");
  const auto [end, failed] =
      std::from_chars(port.data(), port.data() + port.size(), probe.target.port);
  static constexpr std::string_view kKinds[] = {"tcp", "http", "dns", "tls"};
  if (probe.interface.empty() || !to || failed != std::errc{} || end != port.data() + port.size() ||
      std::find(std::begin(kKinds), std::end(kKinds), probe.kind) == std::end(kKinds) ||
      (probe.kind == "http" && probe.method != "GET" && probe.method != "HEAD")) {
    return invalid_error("not a probe: " + boost::json::serialize(row));
  }
  probe.target.ip = *to;
  if (const auto* headers = row.if_contains("headers"); headers && headers->is_object()) {
    for (const auto& [name, value] : headers->get_object()) {
      probe.headers.emplace_back(name, cell(headers->get_object(), name));
    }
  }
  return probe;
}

ProbeAnswer send_probe(const Probe& probe, std::chrono::milliseconds patience) {
  if (probe.kind == "http") {
    return send_http(probe, patience);
  }
  if (probe.kind == "dns") {
    return send_dns(probe, patience);
  }
  if (probe.kind == "tls") {
    return send_tls(probe, patience);
  }
  Socket socket(SOCK_STREAM, patience);
  const int failed = socket.connect(probe.target);
  return failed == 0 ? ProbeAnswer{Verdict::kAllowed, "connected"} : unconnected(failed, patience);
}

} // namespace weir::ctl
