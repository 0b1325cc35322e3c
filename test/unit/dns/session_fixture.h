// A DNS session between sockets that the test itself holds: it plays the client and the server by
// turns, so that everything happens in the order in which it is written. Waiting is bounded by the
// sockets' own time-outs, which only a failing test reaches.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/ip.h"
#include "proxy/dns/message.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/dns_service.h"
#include "proxy/session/dns_session.h"
#include "test/support/must.h"
#include "test/support/peer_socket.h"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::test {

inline SocketAddress address(std::string_view text) {
  const auto parsed = SocketAddress::parse(text);
  REQUIRE(parsed);
  return *parsed;
}

// One that a test asks by, or answers.
class TestSocket : public PeerSocket {
public:
  using PeerSocket::PeerSocket;
  TestSocket(int type, std::string_view bind_to) : TestSocket(type, test::address(bind_to)) {}
  TestSocket(int type, const SocketAddress& bind_to) : PeerSocket(type, bind_to.ip) {
    bind(bind_to);
    if (type == SOCK_STREAM) {
      listen();
    }
  }
  static TestSocket connected(const SocketAddress& to) {
    TestSocket socket(SOCK_STREAM, to.ip);
    socket.connect(to);
    return socket;
  }
  [[nodiscard]] TestSocket accept() const { return TestSocket(accept_one()); }

  void send_to(const SocketAddress& to, dns::BytesView message) {
    sockaddr_storage storage{};
    const socklen_t length = to.to_sockaddr(storage);
    const ssize_t sent = ::sendto(fd(), message.data(), message.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&storage), length);
    must(sent == static_cast<ssize_t>(message.size()), "sendto");
  }
  std::pair<dns::Bytes, SocketAddress> receive() {
    dns::Bytes message(65535);
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    const ssize_t got = ::recvfrom(fd(), message.data(), message.size(), 0,
                                   reinterpret_cast<sockaddr*>(&storage), &length);
    must(got >= 0, "recv");
    message.resize(static_cast<std::size_t>(got));
    return {message, SocketAddress::from_sockaddr(storage)};
  }
  // A listening one: a connection.
  [[nodiscard]] bool has_something() const {
    pollfd waiting{fd(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) > 0;
  }

  // Streams.
  void write(dns::BytesView bytes) {
    const ssize_t sent = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    must(sent == static_cast<ssize_t>(bytes.size()), "send");
  }
  // Shorter than asked for only at the stream's end.
  dns::Bytes read(std::size_t size) {
    dns::Bytes bytes(size);
    const ssize_t got = size == 0 ? 0 : ::recv(fd(), bytes.data(), size, MSG_WAITALL);
    must(got >= 0, "recv");
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }
  dns::Bytes read_message() {
    const dns::Bytes prefix = read(2);
    must(prefix.size() == 2, "the length of a message");
    return read(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
  }
  bool at_end() { return read(1).empty(); }
};

// Denies names below "denied"; everything else is allowed and teaches unless told otherwise.
class FakeDnsPolicy final : public session::DnsPolicy {
public:
  struct Learning {
    DnsName name;
    std::uint32_t ttl;
    std::vector<IpAddress> addresses;
  };

  // Set before the first query.
  bool teaches = true;
  std::set<IpAddress> cluster;
  std::function<Result<std::size_t>(const Learning&)> on_learn;

  session::DnsDecision judge(const DnsName& name) override {
    const auto labels = name.labels();
    if (!labels.empty() && labels.back() == "denied") {
      return {.allowed = false, .denied_by = "shop/dns", .reason = DnsRefused::kName};
    }
    if (!labels.empty() && labels.back() == "audited") {
      return {.allowed = true,
              .teaches = teaches,
              .denied_by = "shop/dns",
              .reason = DnsRefused::kName,
              .audit = true};
    }
    return {.allowed = true, .teaches = teaches};
  }
  bool is_cluster_address(const IpAddress& address) override { return cluster.contains(address); }
  Result<std::size_t> learn(const DnsName& name, std::uint32_t ttl,
                            const std::vector<IpAddress>& addresses) override {
    Learning learning{name, ttl, addresses};
    if (on_learn) {
      if (auto outcome = on_learn(learning); !outcome) {
        return outcome;
      }
    }
    const std::lock_guard lock(x_mutex);
    x_learned.push_back(std::move(learning));
    return addresses.size();
  }
  PodVolumes::Pod* volume() override { return nullptr; }
  void describe(AccessRecord& record) const override {
    record.direction = "egress";
    record.source.pod = "client";
  }

  [[nodiscard]] std::vector<Learning> learned() const {
    const std::lock_guard lock(x_mutex);
    return x_learned;
  }

private:
  mutable std::mutex x_mutex;
  std::vector<Learning> x_learned;
};

class FakeAccessLog final : public AccessLog {
public:
  struct Line {
    AccessVerdict verdict;
    std::string name, type, denied_by, reason;
    int status;
  };

  bool write(unsigned /*writer*/, const AccessRecord& record) override {
    const std::lock_guard lock(x_mutex);
    x_lines.push_back({record.verdict, std::string(record.query_name),
                       std::string(record.query_type), std::string(record.denied_by),
                       std::string(record.reason), record.status.value_or(-1)});
    return true;
  }
  void flush() override {}
  Result<void> reopen() override { return {}; }

  [[nodiscard]] std::vector<Line> lines() const {
    const std::lock_guard lock(x_mutex);
    return x_lines;
  }

private:
  mutable std::mutex x_mutex;
  std::vector<Line> x_lines;
};

// A worker with its DNS service; listeners are opened by those who need one.
class ServiceFixture {
public:
  explicit ServiceFixture(session::DnsOptions options = {})
      : service(worker, log, std::move(options)) {
    worker.start();
  }
  ~ServiceFixture() { stop(); }

  void stop() {
    if (!x_stopped) {
      x_stopped = true;
      worker.stop();
    }
  }

  template <typename Work>
  auto on_worker(Work work) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto done = task.get_future();
    auto shared = std::make_shared<decltype(task)>(std::move(task));
    worker.post([shared] { (*shared)(); });
    return done.get();
  }

  [[nodiscard]] std::uint64_t refused(DnsRefused reason) {
    return worker.metrics().dns_refused[static_cast<std::size_t>(reason)].value();
  }

  FakeAccessLog log;
  runtime::Worker worker{0};
  session::DnsService service;
  std::shared_ptr<FakeDnsPolicy> policy = std::make_shared<FakeDnsPolicy>();

private:
  bool x_stopped = false;
};

// Client ─► static listener ─► upstream, all on one loopback address.
class UdpFixture : public ServiceFixture {
public:
  explicit UdpFixture(session::DnsOptions options = {}, std::string_view any = "127.0.0.1:0")
      : ServiceFixture(std::move(options)), upstream(SOCK_DGRAM, any), client(SOCK_DGRAM, any) {
    auto opened =
        session::DnsListener::open_static(service, ListenAddr{address(any)}, upstream.address(),
                                          [this](ClientAddr, OriginalDst) { return policy; });
    REQUIRE(opened.has_value());
    listener = *std::move(opened);
    on_worker([this] { worker.gate().spawn(listener->run()); });
  }
  ~UdpFixture() { stop(); }

  void ask(dns::BytesView query) { client.send_to(listener->local(), query); }
  dns::Bytes answer() {
    auto [message, from] = client.receive();
    CHECK(from == listener->local());
    return message;
  }

  TestSocket upstream;
  TestSocket client;
  std::unique_ptr<session::DnsListener> listener;
};

} // namespace weir::test
